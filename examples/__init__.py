"""Practice systems: real services to practise incident response on. They import nothing from the rooms of quell."""
