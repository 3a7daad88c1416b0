"""One stem names an archetype's flow file, its function, its YAML and its deployment; and nothing is registered anywhere else."""

import ast

import yaml

from tests.house.tree import Tree

FLOWS_WITHOUT_BOOK = {"post_incident_review", "unclassified", "replay"}  # no archetype of their own, so no YAML
ARCHETYPES_ALWAYS = ("prompt_injection", "agentic_misalignment")

STANZA = "  - {{name: {0}, entrypoint: flows.{0}.{0}, <<: *runbook}}"


def archetypes(tree: Tree) -> list[str]:
    """The stems of runbooks/*.yaml."""
    return [
        name[len("runbooks/") : -len(".yaml")]
        for name in tree.files
        if name.startswith("runbooks/") and name.endswith(".yaml") and name.count("/") == 1
    ]


def public_flows(tree: Tree) -> list[str]:
    names = [name[len("flows/") : -len(".py")] for name in tree.python("flows/") if name.count("/") == 1]
    return [name for name in names if not name.startswith("_")]


def deployments(tree: Tree) -> dict[str, str]:
    """Name to entry point, from prefect.yaml."""
    if "prefect.yaml" not in tree.files:
        return {}
    found = yaml.safe_load(tree.read("prefect.yaml")) or {}
    return {str(one.get("name", "")): str(one.get("entrypoint", "")) for one in found.get("deployments") or []}


def _defines(tree: Tree, module: str, function: str) -> bool:
    name = module.replace(".", "/") + ".py"
    if name not in tree.files:
        return False
    return any(
        isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == function
        for node in tree.parsed(name).body
    )


def one_stem(tree: Tree) -> list[str]:
    """Each archetype has its YAML, flow file, function and deployment under one stem; each public flow is an archetype's or a listed one's."""
    deployed = deployments(tree)
    breaches = []
    for stem in sorted({*archetypes(tree), *public_flows(tree)}):
        if not stem.isidentifier() or stem != stem.lower():
            breaches.append(f"{stem}: a stem is written in snake_case")
        if not _defines(tree, f"flows.{stem}", stem) and stem != "replay":
            breaches.append(f"{stem}: flows/{stem}.py with a function {stem} is missing; copy the nearest flow")
        if stem not in deployed:
            breaches.append(f"{stem}: no deployment in prefect.yaml; add\n{STANZA.format(stem)}")
        elif deployed[stem] != f"flows.{stem}.{stem}":
            breaches.append(f"{stem}: its deployment's entrypoint is {deployed[stem]}, expected flows.{stem}.{stem}")
        if stem not in FLOWS_WITHOUT_BOOK:
            breaches += _book(tree, stem)
    breaches += [
        f"deployment {name}: the entrypoint {entrypoint} names no function of ours in module form"
        for name, entrypoint in deployed.items()
        if not _defines(tree, *entrypoint.rpartition(".")[::2])
    ]
    return breaches


def _book(tree: Tree, stem: str) -> list[str]:
    name = f"runbooks/{stem}.yaml"
    if name not in tree.files:
        return [
            f"{stem}: {name} is missing; a flow without a runbook must be one of {', '.join(sorted(FLOWS_WITHOUT_BOOK))}"
        ]
    book = yaml.safe_load(tree.read(name))
    said = book.get("archetype") if isinstance(book, dict) else None
    return [] if said == stem else [f"{name}: says archetype: {said}, expected {stem}"]


def archetypes_that_must_be(tree: Tree) -> list[str]:
    """The archetypes that every release answers."""
    return [f"{stem}: runbooks/{stem}.yaml is missing" for stem in ARCHETYPES_ALWAYS if stem not in archetypes(tree)]
