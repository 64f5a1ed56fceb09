import { mkdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { type Browser, type BrowserContext, chromium, type Locator, type Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import type { Snapshot } from '../../apps/ops/wire.ts'
import { chromiumArguments, findChromium } from '../support/chromium.ts'
import { command, type Launcher, launch, newDataDir, removeStack } from '../support/launcher.ts'
import { freePorts, waitFor } from '../support/servers.ts'
import { startSteadyLoad } from '../support/steady-load.ts'
import { startValve } from '../support/valve.ts'

const executablePath = findChromium()
/** A folder for pictures of the story; none are taken where it is not set. */
const pictures = process.env.DASHBOARD_SCREENSHOTS
const checkout = join(import.meta.dirname, '../..')
const env = {
  SAMPLE_DATA: 'false',
  RATE_LIMIT_MAX: '1000000000',
  BRIGADE_CACHE_DIR: process.env.BRIGADE_CACHE_DIR ?? join(checkout, '.cache'),
}

const desk = { width: 1280, height: 800 }
const phone = { width: 390, height: 844 }
const chartTitles = [
  'Requests',
  'Response time',
  'Errors',
  'Replication lag',
  'Reads by target',
  'Cache hits',
  'Connections',
  'Pool in use',
  'CPU',
  'Memory',
  'Event loop',
]

interface OpenedPage {
  page: Page
  context: BrowserContext
  /** What the browser has complained about, policy violations included. */
  complaints: string[]
  requested: string[]
  headers: Record<string, string>
}

interface View {
  viewport?: { width: number; height: number }
  colorScheme?: 'light' | 'dark'
}

if (!executablePath) process.stdout.write('No Chromium in PATH: the tests of the dashboard are skipped\n')

describe.skipIf(!executablePath)('the dashboard', () => {
  let browser: Browser
  let launcher: Launcher
  let url: string

  beforeAll(async () => {
    const [port = 0] = await freePorts(1)
    launcher = launch({ dataDir: newDataDir(), port, env })
    await launcher.ready()
    url = `${launcher.url}/ops`
    await waitFor('everything to be well', 60_000, async () =>
      (await snapshot()).state.nodes.every(({ health }) => health === 'ok'),
    )
    browser = await chromium.launch({ executablePath: executablePath as string, args: chromiumArguments })
  })
  afterAll(async () => {
    await browser?.close()
    if (launcher) await removeStack(launcher.dataDir)
  })

  /** The page of this address as a visitor sees it once there is data. Closed when the test ends. */
  async function openPage(address: string, { viewport = desk, colorScheme = 'light' }: View = {}): Promise<OpenedPage> {
    const context = await browser.newContext({ viewport, colorScheme, reducedMotion: 'reduce' })
    onTestFinished(() => context.close())
    const page = await context.newPage()
    const complaints: string[] = []
    const requested: string[] = []
    page.on('console', (message) => {
      if (message.type() !== 'log') complaints.push(message.text())
    })
    page.on('pageerror', (error) => complaints.push(error.message))
    page.on('request', (request) => requested.push(request.url()))
    const response = await page.goto(address)
    await freshness(page).getByText('Live').waitFor()
    return { page, context, complaints, requested, headers: response?.headers() ?? {} }
  }

  /** The same page over a line that can hang or break. */
  async function behindValve() {
    const { port, pathname } = new URL(url)
    const valve = await startValve(Number(port))
    return { valve, address: `http://127.0.0.1:${valve.port}${pathname}` }
  }

  const snapshot = async () => (await (await fetch(`${url}/snapshot`)).json()) as Snapshot
  const freshness = (page: Page) => page.locator('#freshness')
  const region = (page: Page, name: string) => page.getByRole('region', { name, exact: false })
  const picture = (page: Page, title: string) => page.getByRole('img', { name: `Chart of ${title},` })

  test('loads from its own address alone, and the browser has nothing to complain about', async () => {
    const { complaints, requested, headers } = await openPage(url)
    const { origin } = new URL(url)
    expect(requested.filter((address) => !address.startsWith(`${origin}/ops`))).toEqual([])
    const policy = headers['content-security-policy'] ?? ''
    expect(policy).toContain("script-src 'self'")
    expect(policy).not.toContain('unsafe')
    expect(complaints).toEqual([])
  })

  test('draws every process of the stack, in words too', async () => {
    const { page } = await openPage(url)
    const names = (await snapshot()).state.nodes.map(({ name }) => name)
    expect(names.length).toBeGreaterThan(4)
    const topology = region(page, 'Topology')
    const words = await topology.getByRole('listitem').allTextContents()
    expect(words.map((text) => text.split(',')[0]).sort()).toEqual(names.sort())
    const drawn = await topology.locator('.box .name').allTextContents()
    expect(drawn.sort()).toEqual(['clients', ...names].sort())
    expect(await topology.locator('.link').count()).toBeGreaterThan(names.length - 2)
    // Nobody asks for anything.
    const widths = await topology
      .locator('.link.requests')
      .evaluateAll((all) => all.map((link) => Number(link.getAttribute('stroke-width'))))
    expect(Math.max(...widths)).toBeLessThan(2)
  })

  test('has every chart with its latest values, in words and as a table', async () => {
    const { page } = await openPage(url)
    for (const title of chartTitles) {
      await picture(page, title).waitFor()
      const button = page.getByRole('button', { name: `Table of ${title}` })
      await button.click()
      const table = page.getByRole('dialog').getByRole('table')
      const heads = await table.getByRole('columnheader').allTextContents()
      expect(heads[0]).toBe('Time')
      const legend = page.getByRole('list', { name: `${title}: latest values` })
      expect(await legend.getByRole('listitem').count()).toBe(heads.length - 1)
      expect(await table.getByRole('rowheader').count()).toBeGreaterThan(0)
      await page.getByRole('button', { name: 'Close' }).click()
      await page.getByRole('dialog').waitFor({ state: 'hidden' })
      expect(await focusedName(page)).toBe(`Table of ${title}`)
    }
  })

  test('draws lines into the charts', async () => {
    const { page } = await openPage(url)
    await picture(page, 'Memory').waitFor()
    // Colours that only the lines have; a canvas without them holds axes alone.
    const coloured = await page.evaluate<number>(`(() => {
      const canvas = document.querySelector('[aria-label^="Chart of Memory,"] canvas')
      const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height)
      let count = 0
      for (let at = 0; at < data.length; at += 4) {
        const channels = [data[at], data[at + 1], data[at + 2]]
        if (data[at + 3] > 200 && Math.max(...channels) - Math.min(...channels) > 90) count++
      }
      return count
    })()`)
    expect(coloured).toBeGreaterThan(20)
  })

  test('moves on without being asked', async () => {
    const { page } = await openPage(url)
    const newest = async () => {
      await page.getByRole('button', { name: 'Table of Memory' }).click()
      const time = await page.getByRole('dialog').getByRole('rowheader').first().textContent()
      await page.keyboard.press('Escape')
      return time
    }
    const before = await newest()
    await expect.poll(newest, { timeout: 10_000, interval: 500 }).not.toBe(before)
  })

  test('holds each figure against its threshold', async () => {
    const { page } = await openPage(url)
    const { advice } = (await snapshot()).state
    const rows = await region(page, 'Adviser').getByRole('listitem').allTextContents()
    expect(rows.length).toBe(advice.length)
    for (const [at, { title, threshold, advice: text }] of advice.entries()) {
      for (const part of [title, threshold, text]) expect(rows[at]).toContain(part)
      expect(rows[at]).toMatch(/ok|act|no data/)
    }
  })

  for (const [size, viewport] of Object.entries({ desk, phone })) {
    test(`cuts no word of the advice on a ${size}`, async () => {
      const { page } = await openPage(url, { viewport })
      await region(page, 'Adviser').getByRole('listitem').first().waitFor()
      const cut = await page.evaluate<string[]>(`[...document.querySelectorAll('#advice li > span')]
        .filter((part) => part.scrollWidth > part.clientWidth || part.scrollHeight > part.clientHeight + 1)
        .map((part) => part.textContent)`)
      expect(cut).toEqual([])
    })
  }

  test('lists what has happened, the newest first', async () => {
    const { page } = await openPage(url)
    const { events } = await snapshot()
    const listed = page.getByRole('log', { name: 'Events' }).getByRole('listitem')
    // What happens meanwhile comes on top.
    for (const { text } of events.slice(-5)) await listed.filter({ hasText: text }).first().waitFor()
    const times = await listed.locator('time').evaluateAll((all) => all.map((time) => time.getAttribute('datetime')))
    expect(times).toEqual([...times].sort().reverse())
    expect(times.length).toBeGreaterThanOrEqual(Math.min(events.length, 100))
  })

  test('takes another range from the keyboard, and keeps it', async () => {
    const { page } = await openPage(url)
    await page.getByRole('radio', { name: '5 min', exact: true }).focus()
    await page.keyboard.press('ArrowRight')
    await page.getByRole('img', { name: 'Chart of Requests, last 30 min' }).waitFor()
    await page.reload()
    await page.getByRole('img', { name: 'Chart of Requests, last 30 min' }).waitFor()
    expect(await page.getByRole('radio', { name: '30 min' }).isChecked()).toBe(true)
  })

  test('is dark or light as the system wants, unless its own switch says otherwise', async () => {
    const { page } = await openPage(url, { colorScheme: 'dark' })
    const background = () => page.evaluate<string>('getComputedStyle(document.body).backgroundColor')
    const dark = await background()
    await page.emulateMedia({ colorScheme: 'light' })
    const light = await background()
    expect(light).not.toBe(dark)
    await page.getByText('Dark', { exact: true }).click()
    expect(await background()).toBe(dark)
    await page.reload()
    expect(await background()).toBe(dark)
  })

  test('says how old its data is when the server falls silent, and catches up', async () => {
    const { valve, address } = await behindValve()
    const { page } = await openPage(address)
    valve.shut()
    await freshness(page)
      .getByText(/^Data is \d+ s old$/)
      .waitFor({ timeout: 10_000 })
    await freshness(page)
      .getByText(/^Connection lost\. Data is \d+ s old/)
      .waitFor({ timeout: 15_000 })
    valve.open()
    await freshness(page).getByText('Live').waitFor({ timeout: 20_000 })
  }, 60_000)

  test('says that the connection is lost, tries again, and takes up again', async () => {
    const { valve, address } = await behindValve()
    const { page } = await openPage(address)
    valve.cut()
    await freshness(page)
      .getByText(/^Connection lost\. Data is \d+ s old, next try in \d+ s$/)
      .waitFor({ timeout: 10_000 })
    expect(await page.getByRole('button', { name: 'Try now' }).isVisible()).toBe(true)
    valve.open()
    await freshness(page).getByText('Live').waitFor({ timeout: 20_000 })
    expect(await page.getByRole('button', { name: 'Try now' }).isVisible()).toBe(false)
  }, 60_000)

  for (const [size, viewport] of Object.entries({ desk, phone })) {
    for (const colorScheme of ['light', 'dark'] as const) {
      test(`has nothing that axe finds, ${colorScheme} on a ${size}, nor has its table`, {
        timeout: 60_000,
      }, async () => {
        const { page } = await openPage(url, { viewport, colorScheme })
        await picture(page, 'Event loop').waitFor()
        expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(viewport.width)
        await page.evaluate(axe)
        expect(await violations(page)).toEqual([])
        await page.getByRole('button', { name: 'Table of CPU' }).click()
        expect(await violations(page)).toEqual([])
      })
    }
  }

  test('is usable on a phone: every control is within the screen', async () => {
    const { page } = await openPage(url, { viewport: phone })
    const controls = [...(await page.getByRole('button').all()), ...(await page.locator('label').all())]
    const boxes = await Promise.all(controls.map((control: Locator) => control.boundingBox()))
    const outside = boxes.filter((box) => box && (box.x < 0 || box.x + box.width > phone.width))
    expect(outside).toEqual([])
  })

  test('tells the story of a load, a scale and a failover, and is never loaded again', {
    timeout: 240_000,
  }, async () => {
    const { page, complaints } = await openPage(url)
    let loads = 0
    page.on('framenavigated', () => loads++)
    let taken = 0
    const takePicture = async (name: string) => {
      if (!pictures) return
      mkdirSync(pictures, { recursive: true })
      await page.screenshot({ path: join(pictures, `${++taken}-${name}.png`) })
    }
    const words = (title: string) => page.getByRole('list', { name: `${title}: latest values` }).textContent()
    const processes = () => region(page, 'Topology').getByRole('listitem')
    const processNamed = (name: string, more = '') => processes().filter({ hasText: new RegExp(`^${name},.*${more}`) })
    const happened = (text: string) =>
      page.getByRole('log', { name: 'Events' }).getByRole('listitem').filter({ hasText: text }).first()

    await page.getByText('1 min', { exact: true }).click()
    const before = new Map<string, string | null>()
    for (const title of chartTitles) before.set(title, await words(title))
    const load = await startSteadyLoad(launcher.url, { perSecond: 300, errorEveryMs: 5_000 })
    onTestFinished(load.stop)
    // Where everything is quick, no connection may be in use at the moments when that is looked at.
    for (const title of chartTitles.filter((each) => each !== 'Pool in use')) {
      await expect.poll(() => words(title), { timeout: 30_000, message: title }).not.toBe(before.get(title))
    }
    await takePicture('load')

    expect(await command(launcher.dataDir, 'scale', 'app=4')).toMatchObject({ status: 0 })
    await processNamed('app-4', 'ok').waitFor({ state: 'attached', timeout: 10_000 })
    await happened('app-4').waitFor()
    await takePicture('scale')

    const primary = (await snapshot()).state.nodes.find(({ role }) => role === 'primary')?.name ?? ''
    const isOther = new RegExp(`^(?!${primary},)mongo-\\d,.*primary`)
    process.kill(launcher.process(primary).pid, 'SIGKILL')
    const killedMs = performance.now()
    const leftMs = () => Math.max(1, 15_000 - (performance.now() - killedMs))
    await happened(`${primary} does not answer`).waitFor({ timeout: leftMs() })
    await takePicture('member-down')
    await processes().filter({ hasText: isOther }).waitFor({ state: 'attached', timeout: leftMs() })
    await happened(`is primary after ${primary}`).waitFor({ timeout: leftMs() })
    await takePicture('failover')

    await processNamed(primary, 'secondary').waitFor({ state: 'attached', timeout: 60_000 })
    const answered = load.answered()
    await waitFor('the load to go on', 20_000, async () => load.answered() > answered + 100)
    await freshness(page).getByText('Live').waitFor()
    await takePicture('after')
    expect(loads).toBe(0)
    expect(complaints.filter((text) => !/ERR_|Failed to load resource/.test(text))).toEqual([])
  })
})

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

async function violations(page: Page): Promise<string[]> {
  return page.evaluate<string[]>(`axe.run().then(({ violations }) =>
    violations.flatMap(({ id, nodes }) => nodes.map(({ html }) => id + ': ' + html)))`)
}

const focusedName = (page: Page) => page.evaluate<string>(`document.activeElement.getAttribute('aria-label')`)
