"""Routes that change while deliveries go on: a slot is given back where it was taken."""

from letterlock.schedule.places import Places


def test_a_next_hop_in_hand_keeps_its_place_until_the_last_seat_is_given_back() -> None:
    routes = {"a.example": "old.example"}
    places = Places(lambda hop: routes.get(hop, hop))
    places.follow(lambda _: "new.example", ["a.example"])
    assert places.of("a.example") == "old.example"
    assert places.of("b.example") == "new.example"
    places.given_back("a.example", lambda: ["a.example"])
    assert places.of("a.example") == "old.example"
    places.given_back("a.example", list)
    assert places.of("a.example") == "new.example"


def test_two_changes_keep_the_place_where_the_seat_was_taken() -> None:
    places = Places(lambda _: "first")
    places.follow(lambda _: "second", ["a.example"])
    places.follow(lambda _: "third", ["a.example"])
    assert places.of("a.example") == "first"
    places.given_back("a.example", list)
    assert places.of("a.example") == "third"
