// The page of a run in headless Chromium, clicked through: while it runs, when it has ended well, and when it has failed, on a
// narrow and a wide screen. Usage: node .ci/page.mjs API_URL [FOLDER FOR SCREENSHOTS]
import { createRequire } from "node:module";
import { mkdirSync } from "node:fs";
import { join } from "node:path";

const require = createRequire(new URL("../.fresco/ci-node/", import.meta.url));
const { chromium } = require("playwright-core");
const [api, folder] = process.argv.slice(2);
const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
// Nothing goes elsewhere, and a sandbox is not to be had as root.
const args = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
// The emulator looks whether a request is signed and not by whom.
const signed = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/execute-api/aws4_request, SignedHeaders=host, Signature=x";
const within = { timeout: 90_000 };

const fail = (what) => {
  throw new Error(what);
};
const must = (holds, what) => holds || fail(what);

async function start(pipeline, input) {
  const answer = await fetch(`${api}/runs`, { method: "POST", headers: { "content-type": "application/json", authorization: signed }, body: JSON.stringify({ pipeline, input }) });
  must(answer.status === 202, `POST /runs: ${answer.status} ${await answer.clone().text()}`);
  return answer.json();
}

// A page on which nothing may be said on the console: a violation of the policy is.
async function open(browser, url, width, complaints) {
  const page = await browser.newPage({ viewport: { width, height: 900 } });
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(String(error)));
  await page.goto(url);
  return page;
}

async function shoot(page, name) {
  if (folder) {
    mkdirSync(folder, { recursive: true });
    await page.screenshot({ path: join(folder, `${name}.png`), fullPage: true });
  }
}

async function fits(page, what) {
  const wider = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  must(wider <= 0, `${what}: the page is ${wider} pixels wider than the screen`);
}

const browser = await chromium.launch({ executablePath, args });
const complaints = [];
try {
  const tag = `page ${Date.now()}`;
  const steps = [
    { name: "scene", type: "text_to_image", model: "flux_schnell" },
    { name: "clip", type: "image_to_video", model: "hailuo", input_from: "scene", params: { prompt: `it moves, ${tag}` } },
    { name: "words", type: "analyze_image", input_from: "scene" },
  ];
  const well = await start({ name: "<img src=x onerror=alert(1)> & co", steps }, tag);
  const wide = await open(browser, api + well.links.view, 1400, complaints);
  await wide.waitForSelector('#status[data-state="running"]', within);
  await wide.waitForSelector('[data-step="scene"]', within);
  await shoot(wide, "running-wide");
  must((await wide.textContent("h1")).includes("<img src=x"), "the name is shown as it is written");
  await wide.waitForSelector('#status[data-state="succeeded"]', within);
  const picture = wide.locator('[data-step="scene"] [data-output] img').first();
  await picture.waitFor(within);
  await wide.waitForFunction((image) => image.complete && image.naturalWidth > 0, await picture.elementHandle(), within);
  await shoot(wide, "succeeded-wide");
  await picture.click();
  await wide.waitForSelector("dialog[open]", within);
  await wide.keyboard.press("Escape");
  await wide.waitForSelector("dialog[open]", { state: "detached", ...within }).catch(() => wide.waitForSelector("dialog:not([open])", { state: "attached", ...within }));
  const plays = await wide.locator('[data-step="clip"] video').first().evaluate(async (video) => {
    video.muted = true;
    await video.play();
    return video.videoWidth > 0 && !video.paused;
  });
  must(plays, "the clip plays");
  must((await wide.textContent('[data-step="words"]')).length > 40, "the words are shown");
  await fits(wide, "wide");

  const narrow = await open(browser, api + well.links.view, 360, complaints);
  await narrow.waitForSelector('#status[data-state="succeeded"]', within);
  await fits(narrow, "narrow");
  await shoot(narrow, "succeeded-narrow");

  const bad = await start({ name: "fails", steps: [{ name: "scene", type: "text_to_image", model: "imagen4", params: { prompt: `never, ${tag}` } }], settings: { max_cost: 0.001 } });
  const failed = await open(browser, api + bad.links.view, 360, complaints);
  await failed.waitForSelector('#status[data-state="failed"]', within);
  must((await failed.textContent('[data-step="scene"]')).includes("Budget.Exceeded"), "the error is shown by its name");
  await fits(failed, "failed");
  await shoot(failed, "failed-narrow");
  must(complaints.length === 0, `said on the console: ${complaints.join("; ")}`);

  // An altered link shows nothing.
  const altered = await fetch(`${api}${well.links.view}x`);
  must(altered.status === 403, `an altered link is answered with ${altered.status}`);
  console.log("the page: running, succeeded and failed, wide and narrow, clicked through");
} finally {
  await browser.close();
}
