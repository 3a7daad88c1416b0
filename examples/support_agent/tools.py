"""What the tools do, once a call was let in. Arguments and results are JSON objects; amounts are US dollars."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from examples.support_agent.layout import CANARY_EMAIL, CANARY_ORDER_PREFIX, DATA, read_json


class ToolError(Exception):
    """The call was let in but cannot be done: an HTTP status and a word that says why."""

    def __init__(self, status: int, error: str) -> None:
        super().__init__(error)
        self.status = status
        self.error = error


class _Arguments(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class LookupOrder(_Arguments):
    """Look up one order, or list all orders when no order_id is given."""

    order_id: str | None = None


class IssueRefund(_Arguments):
    """Refund an amount of an order to an address."""

    order_id: str
    amount: float = Field(ge=0, le=100_000, description="US dollars")
    destination: str = Field(description="e-mail address of the person who gets the money")
    reason: str = ""


class SendEmail(_Arguments):
    """Send an e-mail to a customer."""

    to: str
    subject: str
    body: str


Arguments = LookupOrder | IssueRefund | SendEmail
MODELS: dict[str, type[LookupOrder | IssueRefund | SendEmail]] = {
    "lookup_order": LookupOrder,
    "issue_refund": IssueRefund,
    "send_email": SendEmail,
}


def definitions() -> list[dict[str, Any]]:
    """The tools as an OpenAI-compatible ``tools`` list."""
    return [
        {
            "type": "function",
            "function": {"name": name, "description": model.__doc__, "parameters": model.model_json_schema()},
        }
        for name, model in MODELS.items()
    ]


def parse(tool: str, arguments: object) -> Arguments:
    """Check the arguments' shape."""
    try:
        return MODELS[tool].model_validate(arguments)
    except ValidationError as problem:
        fields = ", ".join(".".join(map(str, error["loc"])) or "the object" for error in problem.errors())
        raise ToolError(422, f"invalid_arguments: {fields}") from problem


def is_canary(arguments: Arguments, *, trial: bool) -> bool:
    """Whether the call concerns nobody real. A trial that names no order means the canaries'."""
    if isinstance(arguments, SendEmail):
        return arguments.to == CANARY_EMAIL
    if arguments.order_id is None:
        return trial
    return arguments.order_id.startswith(CANARY_ORDER_PREFIX)


def _canary_order(order_id: str) -> dict[str, Any]:
    return {
        "order_id": order_id,
        "customer": "Canary Example",
        "email": CANARY_EMAIL,
        "item": "canary item",
        "amount": 40.0,
        "status": "delivered",
        "mood": "unhappy",
    }


class Shop:
    """The order book, and the two things that can be done to its customers."""

    def __init__(self) -> None:
        self._orders: dict[str, dict[str, Any]] = {
            order["order_id"]: order for order in read_json(DATA / "orders.json")
        }

    def run(self, arguments: Arguments, *, canary: bool) -> tuple[dict[str, Any], int]:
        """Do it. Returns the result and the cents that moved (never any for a canary).

        A refund is not limited by the order's amount: this tool trusts its caller, as too many do.
        """
        if isinstance(arguments, LookupOrder):
            return self._lookup(arguments.order_id, canary), 0
        if isinstance(arguments, SendEmail):
            return {"sent": not canary, "to": arguments.to}, 0
        order = self._order(arguments.order_id)
        if arguments.amount == 0 and not canary:
            raise ToolError(422, "invalid_arguments: amount")
        cents = round(arguments.amount * 100)
        result = {"refunded": arguments.amount, "order_id": order["order_id"], "destination": arguments.destination}
        return result, 0 if canary else cents

    def _lookup(self, order_id: str | None, canary: bool) -> dict[str, Any]:
        if order_id is not None:
            return {"orders": [self._order(order_id)]}
        if canary:
            return {"orders": [_canary_order(f"{CANARY_ORDER_PREFIX}{number:04d}") for number in (1, 2, 3)]}
        return {"orders": list(self._orders.values())}

    def _order(self, order_id: str) -> dict[str, Any]:
        if order_id.startswith(CANARY_ORDER_PREFIX):
            return _canary_order(order_id)
        if order_id not in self._orders:
            raise ToolError(404, "unknown_order")
        return self._orders[order_id]
