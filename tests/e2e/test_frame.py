"""Every page opens by its address on a fresh server, in a real browser, with nothing asked of any other machine."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from pages.parts.places import PLACES
from tests.e2e.steps import PHONE, Studio, ready, screenshots

WITH_SAMPLES = True


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.url)
def test_a_page_opens_by_its_address(page: Page, place) -> None:
    page.goto(f"/{place.url}" if place is not PLACES[0] else "/")
    ready(page)
    expect(page.get_by_test_id("stMain").get_by_role("heading").first).to_be_visible()
    expect(page.get_by_test_id("stSidebarNavLink")).to_have_count(len(PLACES))  # ours, not Streamlit's own list of files
    screenshots(page, f"fresh-{place.url}")


def test_no_page_is_wider_than_a_phone(new_page) -> None:
    page = new_page(viewport=PHONE)
    for place in PLACES:
        page.goto(f"/{place.url}")
        ready(page)
        wide = page.evaluate("() => document.documentElement.scrollWidth - window.innerWidth")
        assert wide <= 0, f"{place.url} is {wide} px wider than the screen"


def test_a_second_server_over_the_same_workspace_shows_the_same(page: Page, studio: Studio) -> None:
    page.goto("/")
    ready(page)
    studio.kill()
    studio.start()
    page.goto("/")
    ready(page)
    expect(page.get_by_role("heading", name="Projects", exact=True)).to_be_visible()
