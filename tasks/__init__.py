"""HOW: thin Prefect tasks; the hands below them know no Prefect."""
