"""The dashboard in a browser: it goes on when the leader is killed, although the page came from it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium.common.exceptions import WebDriverException
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

from quorate.ops.local_cluster import LocalCluster
from quorate.rest.http_client import HttpClient

from .support import create_product

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
SECONDS = 20
PHONE = {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}

pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs chromium and chromedriver")


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Chrome]:
    """A headless one, which asks nobody but the page's nodes for anything."""
    options = ChromeOptions()
    options.binary_location = str(CHROMIUM)
    quiet = (
        "no-first-run",
        "disable-background-networking",
        "disable-component-update",
        "disable-sync",
        "disable-quic",
    )
    place = (f"user-data-dir={tmp_path / 'browser'}", "window-size=1280,1200")
    for argument in (
        "headless=new",
        "no-sandbox",
        "disable-gpu",
        "disable-quic",
        "disable-dev-shm-usage",
        *quiet,
        *place,
    ):
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = Chrome(options=options, service=Service(DRIVER))
    try:
        yield driver
    finally:
        driver.quit()


def text_of(browser: Chrome, selector: str) -> str:
    """The text of an element, or nothing if it is not there now."""
    try:
        return browser.find_element(By.CSS_SELECTOR, selector).text
    except WebDriverException:  # it is being replaced
        return ""


async def until(browser: Chrome, condition: Callable[[], bool]) -> None:
    """Return when it holds; if it never does, tell what the page shows then."""
    try:
        async with asyncio.timeout(SECONDS):
            while not await asyncio.to_thread(condition):  # noqa: ASYNC110 - only the page can tell
                await asyncio.sleep(0.05)
    except TimeoutError:
        pytest.fail(f"the page shows {text_of(browser, 'body')!r}; {browser.get_log('browser')}")


def is_too_wide(browser: Chrome) -> bool:
    return bool(browser.execute_script("return document.documentElement.scrollWidth > innerWidth"))


def complaints(browser: Chrome) -> list[Any]:
    """What the browser says of the page, but for nodes that are not reached."""
    said = browser.get_log("browser")
    return [each for each in said if "/dashboard/live" not in each["message"]]


async def dead_task(client: HttpClient, url: str) -> str:
    """A task whose one attempt has failed."""
    name = "from <b>the</b> page"
    body = {"type": "send_offer", "max_retries": 0, "payload": {"to": "ann@example.org", "product": name}}
    submitted = await client.post(f"{url}/api/v1/tasks", body)
    assert submitted.status == 201, submitted.text
    claimed = await client.post(f"{url}/api/v1/workers/hand/claim", {"queues": ["mail"], "wait": 5})
    (lease,) = claimed.json()["tasks"]
    failed = {"token": lease["token"], "error": "no paper", "retry": False}
    answer = await client.post(f"{url}/api/v1/tasks/{lease['task_id']}/fail", failed)
    assert answer.status < 300, answer.text
    return str(lease["task_id"])


async def test_the_page_goes_on_when_its_node_is_killed_and_fits_a_phone(
    cluster: LocalCluster, http: HttpClient, browser: Chrome
) -> None:
    leader = await cluster.leader()
    task = await dead_task(http, leader.url)
    await create_product(http, leader, "<img src=x onerror=alert(1)>")

    await asyncio.to_thread(browser.get, f"{leader.url}/dashboard")
    await until(browser, lambda: "all 3 nodes are up" in text_of(browser, ".sentence"))
    assert f"node {leader.node_id} leads" in text_of(browser, ".sentence")
    assert complaints(browser) == []

    leader.kill()
    await leader.wait_ended(5)
    successor = await cluster.leader(not_one_of=[leader.node_id])
    await until(browser, lambda: f"node {successor.node_id} leads" in text_of(browser, ".sentence"))
    await until(browser, lambda: f"Node {successor.node_id} leads" in text_of(browser, ".timeline"))
    heard = browser.find_element(By.ID, "announcer").get_attribute("textContent")
    assert heard == f"Node {successor.node_id} leads now."

    # What is a row's own is asked of another node, and is text, whatever is in it.
    browser.find_element(By.LINK_TEXT, "Models").click()
    await until(browser, lambda: "Product" in text_of(browser, ".chips"))
    browser.find_element(By.LINK_TEXT, "Product").click()
    await until(browser, lambda: "<img src=x onerror=alert(1)>" in text_of(browser, "tbody"))

    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
    for page in ("Overview", "Keys", "Events", "Models", "Tasks"):
        browser.find_element(By.LINK_TEXT, page).click()
        await until(browser, lambda: text_of(browser, "main section") != "")
        assert not is_too_wide(browser), page

    browser.find_element(By.CSS_SELECTOR, "a[href='#tasks/dead']").click()
    retry = f"button[aria-label='Retry task {task}']"
    await until(browser, lambda: text_of(browser, retry) != "")
    browser.find_element(By.CSS_SELECTOR, retry).click()
    assert task in text_of(browser, "dialog")
    browser.find_element(By.CSS_SELECTOR, "dialog button[type=submit]").click()
    await until(browser, lambda: "will be tried again" in text_of(browser, "#notices"))
    retried = (await http.get(f"{successor.url}/api/v1/tasks/{task}")).json()
    assert retried["status"] == "ready"
