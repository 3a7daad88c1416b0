"""Who somebody is, by the active configuration: the one check before any signature of theirs is looked at."""

from runbooks.domain.configuration import Configuration, Person
from runbooks.domain.errors import ApprovalError
from runbooks.domain.instants import Instant


def listed_person(configuration: Configuration, name: str, now: Instant) -> Person:
    """The listed person, valid at this time; ApprovalError for anybody else.

    `now` is the latest time that the record knows (`Installation.latest`): a clock that was set back revives nobody.
    """
    person = configuration.people.get(name)
    if person is None:
        raise ApprovalError(
            f"{name} is not listed among the people of the active configuration.", now="nothing was accepted.",
            next_step="use a name of config/people.toml, or have a policy owner activate one that lists you.",
        )  # fmt: skip
    begins, ends = person.valid_from, person.valid_until
    if (begins is not None and now < begins) or (ends is not None and now > ends):
        raise ApprovalError(
            f"{name} is valid from {begins or 'ever'} until {ends or 'ever'}; it is {now}.", now="nothing was accepted.",
            next_step="somebody else must do it, or a policy owner corrects config/people.toml.",
        )  # fmt: skip
    return person
