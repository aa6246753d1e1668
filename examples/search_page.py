"""Drives the page of `sail serve` in Chromium: words, a dropped image, the keyboard alone, a narrow and a dark screen, a token.

    sail serve photos.index &
    pip install playwright
    python examples/search_page.py --words fox --image photo.png --screenshots docs

Fails if a step does not do what it should. `--screenshots` writes one for every screen. `--chromium` names a browser that is
installed; without it, Playwright's own is used (`playwright install chromium`). With `--token`, which is that of the service, the
page is opened with it, after a wrong one.
"""

import argparse
import base64
import re
from pathlib import Path

from playwright.sync_api import expect, sync_playwright

DROP = """([data, name]) => {
  const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], name, { type: "image/png" }));
  document.body.dispatchEvent(new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer: transfer }));
}"""

# WCAG's contrast of an element's text with the first opaque background behind it.
CONTRAST = """(element) => {
  const rgb = (color) => color.match(/[0-9.]+/g).map(Number);
  const luminance = ([r, g, b]) => {
    const channel = (c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    return 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  };
  let behind = element;
  while (behind && rgb(getComputedStyle(behind).backgroundColor)[3] === 0) behind = behind.parentElement;
  const [a, b] = [getComputedStyle(element).color, getComputedStyle(behind ?? document.body).backgroundColor]
    .map((color) => luminance(rgb(color))).sort((a, b) => b - a);
  return (a + 0.05) / (b + 0.05);
}"""


def check_contrast(page):
    texts = page.locator("h1, h2, label, button, summary, .note, .score, .name, #status, #token-wrong, dt, dd, kbd, code").all()
    for text in (text for text in texts if text.is_visible()):
        contrast = text.evaluate(CONTRAST)
        assert contrast >= 4.5, f"a contrast of {contrast:.2f}: {text.inner_text()!r}"


def check_width(page):
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page is wider than the screen"


def check_names(page):
    nameless = page.evaluate(
        """[...document.querySelectorAll("button, input, textarea, img")].filter((element) =>
          element.checkVisibility() && !(element.ariaLabel || element.alt || element.labels?.length || element.textContent.trim()))
          .map((element) => element.outerHTML)"""
    )
    assert not nameless, f"controls without a name: {nameless}"


def by_words(page, url, words):
    page.goto(url)
    expect(page.locator("#status")).to_have_text(re.compile("[0-9] images"))
    page.get_by_role("searchbox").fill(words)
    page.get_by_role("button", name="Search", exact=True).click()
    expect(page.locator("#status")).to_have_text(re.compile("^[0-9]+ result"))
    assert "q=" in page.url and page.title().startswith(words)
    first = page.locator(".hit").first
    expect(first.locator("img")).to_have_js_property("complete", True)
    assert first.locator("img").evaluate("image => image.naturalWidth") > 0, "the first thumbnail is not shown"
    found = page.locator(".name").all_inner_texts()
    page.goto(page.url)
    expect(page.locator(".name").first).to_have_text(found[0])
    return found


def by_image(page, image):
    page.evaluate(DROP, [base64.b64encode(image.read_bytes()).decode(), image.name])
    expect(page.locator("#example-name")).to_have_text(image.name)
    expect(page.locator("#status")).to_have_text(re.compile("^[0-9]+ result"))
    assert float(page.locator(".hit .score").first.inner_text()) > 0.9, "the image does not find itself"
    page.locator("#example-clear").click()
    expect(page.locator("#example")).to_be_hidden()


def by_keyboard(page, url, words):
    page.goto(url)
    expect(page.locator("#status")).to_have_text(re.compile("[0-9] images"))
    page.wait_for_load_state("networkidle")
    page.evaluate("document.activeElement.blur()")
    focused = lambda selector: expect(page.locator(selector)).to_be_focused()
    press = page.keyboard.press
    press("/")
    focused("#words")
    page.keyboard.type(words)
    press("Enter")
    expect(page.locator("#status")).to_have_text(re.compile("^[0-9]+ result"))
    press("ArrowDown")
    focused("li:nth-child(1) > .hit")
    press("ArrowRight")
    focused("li:nth-child(2) > .hit")
    press("ArrowDown")
    press("ArrowUp")
    focused("li:nth-child(2) > .hit")
    press("Enter")
    expect(page.locator("#detail")).to_be_visible()
    page.locator("#labels").focus()
    press("Control+A")
    page.keyboard.type("an animal, a vehicle")
    press("Tab")
    press("Enter")
    expect(page.locator("#label-list li meter")).to_have_count(2)
    press("Escape")
    expect(page.locator("#detail")).to_be_hidden()
    focused("li:nth-child(2) > .hit")
    press("m")
    expect(page.locator("#example")).to_be_visible()
    assert "like=" in page.url
    press("ArrowDown")
    press("Escape")
    focused("#words")
    page.go_back()
    expect(page.locator("#words")).to_have_value(words)


def with_token(page, url, token):
    """Opens the page of a service that requires a token."""
    dialog, wrong = page.locator("#token-dialog"), page.locator("#token-wrong")
    page.goto(url)
    expect(dialog).to_be_visible()
    expect(wrong).to_be_hidden()
    expect(page.locator("#token")).to_be_focused()
    check_contrast(page), check_width(page), check_names(page)
    page.get_by_role("textbox", name="Token").fill("wrong")
    page.keyboard.press("Enter")
    expect(wrong).to_be_visible()
    check_contrast(page), check_width(page)
    page.get_by_role("textbox", name="Token").fill(token)
    page.keyboard.press("Enter")
    expect(dialog).to_be_hidden()
    expect(page.locator("#status")).to_have_text(re.compile("[0-9] images"))
    page.reload()
    expect(page.locator("#status")).to_have_text(re.compile("[0-9] images"))
    expect(dialog).to_be_hidden()
    assert page.evaluate("localStorage.length") == 0 and not page.context.cookies(), "the token outlives the session"
    assert token not in page.url


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8080/")
    parser.add_argument("--words", required=True)
    parser.add_argument("--image", type=Path, required=True, help="a PNG file of the index")
    parser.add_argument("--screenshots", type=Path)
    parser.add_argument("--chromium")
    parser.add_argument("--token", help="that of the service, if it requires one")
    args = parser.parse_args()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=args.chromium)
        for scheme in ("light", "dark"):
            for width, height in ((1200, 800), (360, 740)):
                context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": height})
                page = context.new_page()
                page.set_default_timeout(20000)
                problems = []
                page.on("pageerror", lambda error: problems.append(str(error)))
                page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
                if args.token:
                    with_token(page, args.url, args.token)
                    # The browser reports the answers 401 that were meant.
                    assert all("401" in problem for problem in problems), problems
                    problems.clear()
                found = by_words(page, args.url, args.words)
                check_contrast(page), check_width(page), check_names(page)
                page.wait_for_load_state("networkidle")
                if args.screenshots:
                    name = "search-page.png" if (scheme, width) == ("light", 1200) else f"search-page-{scheme}-{width}.png"
                    page.screenshot(path=args.screenshots / name)
                page.locator(".hit").first.click()
                expect(page.locator("#detail-image")).to_have_js_property("complete", True)
                check_contrast(page), check_width(page), check_names(page)
                page.keyboard.press("Escape")
                by_image(page, args.image)
                by_keyboard(page, args.url, args.words)
                assert not problems, problems
                print(f"{scheme}, {width} pixels: {args.words} finds {', '.join(found[:3])}")
                context.close()
        browser.close()


if __name__ == "__main__":
    main()
