// Two browsers and one user of nc on the page of the chat, driven by Playwright.
//   node chat_page.js HTTP_PORT CHAT_PORT [FOLDER]      FOLDER gets pictures of it
const {chromium} = require("playwright-core");
const net = require("net");
const [,, http_port, chat_port, shots] = process.argv;
const wait = ms => new Promise(done => setTimeout(done, ms));
function fail(text) { throw new Error(text); }
async function until(what, check, patience = 20000) {
  const end = Date.now() + patience;
  while (Date.now() < end) { if (await check()) return; await wait(30); }
  fail("not within time: " + what);
}
(async () => {
  const browser = await chromium.launch({executablePath: "/usr/bin/chromium-headless-shell", args: ["--no-sandbox"]});
  const enter = async (name, size, scheme) => {
    const context = await browser.newContext({viewport: size, colorScheme: scheme});
    const page = await context.newPage();
    page.errors = [];
    page.on("pageerror", error => page.errors.push(String(error)));
    page.on("request", request => { if (!request.url().startsWith("http://localhost:" + http_port)) page.errors.push("outside: " + request.url()); });
    await page.goto(`http://localhost:${http_port}/`);
    if (shots && name === "alice") await page.screenshot({path: shots + "/door.png"});
    await page.keyboard.type(name);          // the field has the focus
    await page.keyboard.press("Enter");
    await page.waitForSelector("#chat:not([hidden])");
    return page;
  };
  const log = page => page.locator("#log").innerText();
  const say = async (page, text) => { await page.locator("#text").fill(text); await page.keyboard.press("Enter"); };
  const alice = await enter("alice", {width: 1200, height: 700}, "light");
  const bob = await enter("bob", {width: 390, height: 760}, "dark");
  await until("bob is seen", async () => (await log(alice)).includes("bob joined"));
  const nc = net.connect(Number(chat_port), "localhost");
  let heard = "";
  nc.on("data", bytes => heard += bytes);
  nc.write("nina\n");
  await until("nina joins", async () => heard.includes("nina joined the chat!\n"));
  nc.write("hello from a terminal\n");
  await until("nina is heard", async () => (await log(bob)).includes("nina: hello from a terminal"));
  await say(alice, "hello <b>everyone</b> \u{1F600}");
  await until("alice is heard", async () => (await log(bob)).includes("alice: hello <b>everyone</b>") && heard.includes("alice: hello <b>everyone</b>"));
  await until("own message", async () => (await log(alice)).includes("alice: hello"));
  await until("three here", async () => (await alice.locator("#count").innerText()) === "3 here");
  await say(bob, "/msg alice psst");
  await until("a private word", async () => (await log(alice)).includes("bob to you: psst"));
  if (heard.includes("psst")) fail("a private word was heard by all");
  await bob.locator("#text").pressSequentially("typ");
  await until("bob types", async () => (await alice.locator("#typing").innerText()).includes("bob is typing"));
  await bob.locator("#text").fill("");
  // bob loses his connection and catches up.
  const before = (await log(bob)).length;
  await bob.evaluate(() => { socket.onmessage = null; socket.close(); });
  await bob.context().setOffline(true);
  for (let i = 0; i < 5; ++i) { nc.write(`while you were away ${i}\n`); }
  await until("alice hears", async () => (await log(alice)).includes("while you were away 4"));
  await until("bob knows", async () => (await bob.locator("#state").innerText()).includes("lost"));
  await bob.context().setOffline(false);
  await until("bob catches up", async () => (await log(bob)).includes("while you were away 4"));
  const text = await log(bob);
  for (let i = 0; i < 5; ++i) if (text.split(`while you were away ${i}`).length !== 2) fail("once each: " + i);
  if (text.split("hello from a terminal").length !== 2) fail("nothing comes twice");
  // Unread: alice has scrolled up while a thousand messages come.
  const begin = Date.now();
  await alice.evaluate(() => {
    window.frames_seen = []; let last = performance.now();
    const frame = now => { frames_seen.push(now - last); last = now; requestAnimationFrame(frame); };
    requestAnimationFrame(frame);
  });
  for (let i = 0; i < 1000; ++i) nc.write(`line ${i}\n`);
  await until("a thousand", async () => (await log(alice)).includes("line 999"), 60000);
  const frames = await alice.evaluate(() => frames_seen.slice(1).sort((a, b) => a - b));
  console.log(`a thousand messages in ${Date.now() - begin} ms; frames: median ${frames[frames.length >> 1].toFixed(1)} ms, longest ${frames[frames.length - 1].toFixed(1)} ms`);
  const end = await alice.evaluate(() => log.scrollHeight - log.scrollTop - log.clientHeight);
  if (end > 40) fail("the newest message is in view");
  await alice.evaluate(() => { log.scrollTop = 0; });
  nc.write("are you there?\n");
  await until("unread", async () => (await alice.title()).startsWith("(1)"));
  if (shots) { await alice.screenshot({path: shots + "/wide_up.png"}); }
  await alice.locator("#below").click();
  await until("read", async () => !(await alice.title()).startsWith("("));
  await say(bob, "/join tea");
  await until("bob moves", async () => (await bob.locator("#room").innerText()) === "tea");
  await until("he left", async () => (await log(alice)).includes("bob left"));
  await say(bob, "/leave");
  await until("bob is back", async () => (await bob.locator("#room").innerText()) === "lobby");
  if (shots) { await alice.screenshot({path: shots + "/wide.png"}); await bob.screenshot({path: shots + "/narrow.png"});
    await bob.locator("#people").click(); await bob.screenshot({path: shots + "/narrow_people.png"}); }
  for (const page of [alice, bob]) if (page.errors.filter(e => !e.includes("ERR_INTERNET")).length) fail(page.errors.join("; "));
  nc.destroy();
  await browser.close();
  console.log("ok");
})().catch(error => { console.error(error); process.exit(1); });
