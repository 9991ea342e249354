"""`--demo`: an open instance and people who read, answer and sometimes write first, in Portuguese."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

from . import connection, pictures, shapes, timeline
from .config import Range
from .customers import Customer
from .simulator import Simulator
from .store import BAILEYS, Instance

INSTANCE = "demo"
NOT_ON_WHATSAPP = "5511900000404"

_QUESTIONS: list[tuple[str, list[str]]] = [
    (
        r"\b(oi|ol[áa]|bom dia|boa tarde|boa noite|hello|hi)\b",
        ["Oi! Tudo bem?", "Olá! Que bom falar com vocês."],
    ),
    (r"\b(obrigad[oa]|valeu|agrade[çc])", ["Eu que agradeço!", "De nada, até mais!"]),
    (
        r"pre[çc]o|valor|quanto|custa|r\$",
        ["Certo, e dá para parcelar?", "Entendi o valor. Vocês aceitam Pix?"],
    ),
    (r"hor[áa]rio|agend|marcar|amanh[ãa]|hoje", ["Pode ser amanhã às 10h?", "Para mim fica melhor à tarde."]),
    (
        r"endere[çc]o|onde|entrega|frete",
        ["Moro no centro, perto da praça.", "Pode entregar na portaria, por favor."],
    ),
    (
        r"pedido|compra|c[óo]digo|rastre",
        ["O número do meu pedido é 4821.", "Comprei na semana passada pelo site."],
    ),
    (
        r"\?",
        ["Sim, pode ser.", "Deixa eu ver aqui e já te respondo.", "Acho que sim! Qual é o próximo passo?"],
    ),
]
_OTHERWISE = [
    "Entendi: “{text}”. Obrigada pela informação!",
    "Recebi: “{text}”. Vou conferir e te aviso.",
    "Perfeito, anotei aqui: “{text}”.",
]
_LONGEST_ECHO = 80


@dataclass(frozen=True, slots=True)
class _Person:
    number: str
    name: str
    greeting: str | None = None
    reads: bool = True
    answers: bool = True
    answer_delay: Range = (1.5, 4.0)


_PEOPLE = [
    _Person("5511987650001", "Ana Souza", "Oi! Vi o anúncio de vocês. Ainda têm o plano mensal?"),
    _Person("5585998760002", "Bruno Lima", "Bom dia, preciso de ajuda com o meu pedido 4821."),
    _Person("5521976540003", "Carla Mendes", answer_delay=(4.0, 9.0)),
    _Person("5531988880004", "Diego Rocha", answer_delay=(1.0, 2.0)),
    _Person("5541999990005", "Elisa Prado (não lê)", reads=False, answers=False),
]


def populate(sim: Simulator) -> Instance:
    """Make the demo's instance and people."""
    token = sim.config.demo_token or shapes.new_uuid().upper()
    instance = sim.store.create(INSTANCE, BAILEYS, token, None)
    connection.set_state(sim, instance, "open", webhook=False)
    for person in _PEOPLE:
        sim.directory.put(_customer(person, pictures.url_of(sim.url, person.number)))
    sim.directory.put(Customer(number=NOT_ON_WHATSAPP, name="", exists=False))
    if sim.config.demo_greetings:
        sim.on_webhook_set = _Greeter(sim)
    return instance


def answer(text: str, rng: random.Random) -> str:
    """A plausible reply to a text."""
    lowered = text.lower()
    for pattern, replies in _QUESTIONS:
        if re.search(pattern, lowered):
            return rng.choice(replies)
    shown = text if len(text) <= _LONGEST_ECHO else text[:_LONGEST_ECHO].rstrip() + "…"
    return rng.choice(_OTHERWISE).format(text=shown)


def _customer(person: _Person, picture: str) -> Customer:
    return Customer(
        number=person.number,
        name=person.name,
        picture=picture,
        reads=person.reads,
        answers=person.answers,
        delivery_delay=(0.3, 0.9),
        read_delay=(0.8, 2.0),
        answer_delay=person.answer_delay,
        answerer=answer,
        has_chat=True,
    )


class _Greeter:
    """The first time the demo instance gets a webhook, some people write to it."""

    def __init__(self, sim: Simulator) -> None:
        self._sim = sim
        self._done = False

    def __call__(self, instance: Instance) -> None:
        if self._done or instance.name != INSTANCE or not (instance.webhook and instance.webhook.enabled):
            return
        self._done = True
        for person in _PEOPLE:
            if person.greeting:
                self._sim.later(self._sim.draw((2.0, 5.0)), self._greeting(instance, person))

    def _greeting(self, instance: Instance, person: _Person) -> _Say:
        return _Say(self._sim, instance, person)


@dataclass(frozen=True, slots=True)
class _Say:
    sim: Simulator
    instance: Instance
    person: _Person

    def __call__(self) -> None:
        customer = self.sim.directory.someone(self.person.number)
        timeline.say(self.sim, self.instance, customer, self.person.greeting or "")
