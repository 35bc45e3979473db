"""Which person is followed."""

from __future__ import annotations

from tests.support.faces import frontal_face
from trg.live.person import PersonChoice


def face(number: int, depth_m: float, x_m: float = 0.0):
    return frontal_face((x_m, 0.0, depth_m), id=number)


def chosen(choice: PersonChoice, time_s: float, *faces) -> int | None:
    found = choice.choose(faces, time_s)
    return None if found is None else found.id


def test_the_largest_or_nearest_person_is_followed():
    for rule in ("largest", "nearest"):
        assert chosen(PersonChoice(rule), 0.0, face(3, 0.9), face(5, 0.6), face(7, 0.7)) == 5
        assert chosen(PersonChoice(rule), 0.0) is None


def test_a_person_is_followed_while_in_sight():
    choice = PersonChoice("nearest")
    assert chosen(choice, 0.0, face(1, 0.6)) == 1
    assert [chosen(choice, 0.1 * step, face(1, 0.7), face(2, 0.6)) for step in range(50)] == [
        1
    ] * 50


def test_somebody_much_nearer_takes_over_after_a_second_but_not_in_passing():
    choice = PersonChoice("nearest")
    assert chosen(choice, 0.0, face(1, 0.9)) == 1
    passing = [chosen(choice, 0.1 * step, face(1, 0.9), face(2, 0.4)) for step in range(1, 8)]
    assert passing == [1] * 7
    assert chosen(choice, 0.8, face(1, 0.9)) == 1
    staying = [chosen(choice, 1.0 + 0.1 * step, face(1, 0.9), face(3, 0.4)) for step in range(15)]
    assert staying == [1] * 10 + [3] * 5


def test_another_person_is_taken_only_when_the_first_has_gone():
    choice = PersonChoice()
    assert chosen(choice, 0.0, face(1, 0.6), face(2, 0.9)) == 1
    assert chosen(choice, 0.3, face(2, 0.9)) is None
    assert chosen(choice, 0.4, face(1, 0.6), face(2, 0.9)) == 1
    assert chosen(choice, 0.8, face(2, 0.9)) is None
    assert chosen(choice, 1.0, face(2, 0.9)) == 2


def test_a_number_follows_that_track_alone():
    choice = PersonChoice(2)
    assert chosen(choice, 0.0, face(1, 0.4), face(2, 0.9)) == 2
    assert chosen(choice, 5.0, face(1, 0.4)) is None
