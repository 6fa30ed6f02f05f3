"""The dashboard in a browser: what it shows and does, and that everybody can use it.

It goes on when the leader is killed, although the page came from it.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from selenium.common.exceptions import WebDriverException
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from quorate.ops.local_cluster import LocalCluster
from quorate.ops.local_node import LocalNode
from quorate.ops.ports import free_ports
from quorate.rest.http_client import HttpClient

from .support import create_product

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
SECONDS = 20
PHONE = {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
AXE = files("axe_core_python") / "axe.min.js"
"""axe-core, which finds what people with disabilities would stumble over (WCAG 2.1)."""
RUN_AXE = """
const [options, done] = arguments;
axe.run(document, options).then((found) => done(found.violations), (error) => done([String(error)]));
"""

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


def barriers(browser: Chrome, **options: Any) -> list[Any]:
    """What axe-core finds wrong on the page as it is."""
    if not browser.execute_script("return 'axe' in window"):
        browser.execute_cdp_cmd("Runtime.evaluate", {"expression": AXE.read_text()})
    return list(browser.execute_async_script(RUN_AXE, {"resultTypes": ["violations"], **options}))


async def no_barriers(browser: Chrome, what: str) -> None:
    """Once all of the page is there, in light and in dark colours."""
    await until(browser, lambda: not browser.find_elements(By.CSS_SELECTOR, "[aria-busy]"))
    for theme, options in (("light", {}), ("dark", {"runOnly": ["color-contrast"]})):
        browser.execute_script("document.documentElement.dataset.theme = arguments[0]", theme)
        found = await asyncio.to_thread(barriers, browser, **options)
        assert found == [], f"{what}, {theme}: {json.dumps(found, indent=1)[:3000]}"


def card(browser: Chrome, node_id: int) -> str:
    """What the table says of a node, in one line."""
    rows = browser.find_elements(By.XPATH, f"//tr[.//button[@aria-label='Manage node {node_id}']]")
    return " ".join(row.text.replace("\n", " ") for row in rows)


def click(browser: Chrome, selector: str) -> None:
    """Bring a button to the middle, where no notice covers it, and press it."""
    button = browser.find_element(By.CSS_SELECTOR, selector)
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", button)
    button.click()


async def manage(browser: Chrome, node_id: int, choice: str, told: str) -> None:
    """Choose something for a node, confirm it, and wait for what is told of it."""
    click(browser, f"button[aria-label='Manage node {node_id}']")
    browser.find_element(By.XPATH, f"//dialog//label[contains(., '{choice}')]").click()
    await confirm(browser, choice, told)


async def confirm(browser: Chrome, text: str, told: str) -> None:
    """Press the button of the dialog, which says ``text``."""
    button = browser.find_element(By.CSS_SELECTOR, "dialog button[type=submit]")
    assert text in button.text
    button.click()
    await until(browser, lambda: told in text_of(browser, "#notices") and not text_of(browser, "dialog"))


async def change_members(browser: Chrome, cluster: LocalCluster, home: LocalNode) -> None:
    """A fourth node comes, leads, and goes; ``home``, which served the page, stops voting for a while."""
    joining = cluster.start_joining(4, free_ports(1)[0])
    browser.find_element(By.XPATH, "//button[starts-with(., 'Add a member')]").click()
    await no_barriers(browser, "dialog")
    address = browser.find_element(By.CSS_SELECTOR, "dialog [placeholder]")
    address.send_keys("nonsense", Keys.ENTER)
    await until(browser, lambda: "'nonsense' is no peer" in text_of(browser, "dialog [role=alert]"))
    address.clear()
    address.send_keys(joining.address)
    await confirm(browser, "Add it", "Node 4 is added.")
    # The page may not ask it, and yet shows all of it: what its CPU does is known to itself alone.
    await until(browser, lambda: "follower up 0" in card(browser, 4) and "%" in card(browser, 4))
    await manage(browser, 4, "Have node 4 lead", "Node 4 leads now.")
    await until(browser, lambda: "node 4 leads" in text_of(browser, ".sentence"))
    await manage(browser, home.node_id, "Make it a learner", "is a learner")
    await until(browser, lambda: "learner up" in card(browser, home.node_id))
    await manage(browser, home.node_id, "Let it vote", "will vote")
    await manage(browser, home.node_id, "Take a snapshot", f"The log of node {home.node_id} begins with")
    await manage(browser, 4, "Remove it", "Node 4 is no member any more.")
    await until(browser, lambda: "all 3 nodes are up" in text_of(browser, ".sentence"))
    assert browser.execute_script("return document.activeElement.tagName") == "BUTTON", "the focus is not lost"


async def look_around(browser: Chrome, product: str, task: str) -> None:
    """Every view shows what it should, to everybody; a history can be paged through with the keyboard."""
    views = {
        "models": ("models/products", "<img src=x onerror=alert(1)>"),
        "conditions": ("models/products?field=name&is=startswith&value=None", "No object is like that."),
        "keys": ("keys", "no keys yet"),
        "tasks": ("tasks?queue=mail", task[-8:]),
        "task": (f"tasks/task/{task}", "no paper"),
        "events": ("events", "leads, in term"),
        "history": (f"models/products/{product}", "Oak 28 → Oak 29"),
    }
    for what, (place, shown) in views.items():
        browser.execute_script("location.hash = arguments[0]", place)
        await until(browser, lambda shown=shown: shown in text_of(browser, "main"))  # type: ignore[misc]
        await no_barriers(browser, what)
    browser.find_element(By.XPATH, "//button[. = 'Older']").send_keys(Keys.ENTER)
    await until(browser, lambda: "Oak → Oak 0" in text_of(browser, "main"))
    assert browser.execute_script("return document.activeElement !== document.body"), "the focus is not lost"


async def bring_home(browser: Chrome, http: HttpClient, home: LocalNode) -> None:
    """Have the node that served the page lead, though it may lose that again while the browser takes all of the CPU."""
    async with asyncio.timeout(SECONDS):
        while True:
            await http.post(f"{home.url}/cluster/leader", {"node_id": home.node_id})
            for _ in range(20):
                if f"node {home.node_id} leads" in await asyncio.to_thread(text_of, browser, ".sentence"):
                    return
                await asyncio.sleep(0.1)


async def kill_home(browser: Chrome, http: HttpClient, cluster: LocalCluster, home: LocalNode) -> LocalNode:
    """Kill the leader, which served the page; returns the one that is shown as the new one."""
    browser.execute_script("location.hash = 'overview'")
    await bring_home(browser, http, home)
    home.kill()
    await home.wait_ended(5)
    successor = await cluster.leader(not_one_of=[home.node_id])
    await until(browser, lambda: f"node {successor.node_id} leads" in text_of(browser, ".sentence"))
    await until(browser, lambda: f"Node {successor.node_id} leads" in text_of(browser, ".timeline"))
    heard = browser.find_element(By.ID, "announcer").get_attribute("textContent")
    assert heard == f"Node {successor.node_id} leads now."
    return successor


async def look_from_a_phone(browser: Chrome) -> None:
    """Nothing is wider than its screen; what is shown is asked of a node that lives."""
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
    for page in ("Overview", "Keys", "Events", "Models", "Tasks"):
        browser.find_element(By.LINK_TEXT, page).click()
        await until(browser, lambda: text_of(browser, "main section") != "")
        assert not is_too_wide(browser), page


async def retry(browser: Chrome, task: str) -> None:
    """Among the dead letters."""
    browser.find_element(By.CSS_SELECTOR, "a[href='#tasks/dead']").click()
    button = f"button[aria-label='Retry task {task}']"
    await until(browser, lambda: text_of(browser, button) != "")
    click(browser, button)
    assert task in text_of(browser, "dialog")
    await confirm(browser, "Retry", "will be tried again")


@pytest.mark.timeout(180)
async def test_the_page_goes_on_when_its_node_is_killed_and_fits_a_phone(
    cluster: LocalCluster, http: HttpClient, browser: Chrome
) -> None:
    home = await cluster.leader()
    task = await dead_task(http, home.url)
    await create_product(http, home, "<img src=x onerror=alert(1)>")
    product = await create_product(http, home, "Oak")
    for number in range(30):
        renamed = json.dumps({"name": f"Oak {number}"}).encode()
        await http.request("PATCH", f"{home.url}/api/products/{product['id']}", renamed)

    await asyncio.to_thread(browser.get, f"{home.url}/dashboard")
    await until(browser, lambda: "all 3 nodes are up" in text_of(browser, ".sentence"))
    assert f"node {home.node_id} leads" in text_of(browser, ".sentence")
    assert complaints(browser) == []
    await no_barriers(browser, "overview")
    await change_members(browser, cluster, home)
    await look_around(browser, product["id"], task)
    successor = await kill_home(browser, http, cluster, home)
    await look_from_a_phone(browser)
    await retry(browser, task)
    retried = (await http.get(f"{successor.url}/api/v1/tasks/{task}")).json()
    assert retried["status"] == "ready"
