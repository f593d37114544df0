/** The `test` of this suite: one Lab per worker process, a logged-in page per test, and the panel at hand. */
import AxeBuilder from '@axe-core/playwright';
import { expect, test as base, type Locator, type Page } from '@playwright/test';
import { startLab, type ILab } from './lab.js';

interface IWorkerFixtures {
  /** Name of a file that wants a Lab in which no other file left clusters: `test.use({ alone: NAME })`. */
  alone: string;
  lab: ILab;
}

interface ITestFixtures {
  panel: Locator;
}

export const test = base.extend<ITestFixtures, IWorkerFixtures>({
  alone: ['', { option: true, scope: 'worker' }],
  lab: [
    // eslint-disable-next-line @typescript-eslint/no-unused-vars
    async ({ alone }, use) => {
      const lab = await startLab();
      await use(lab);
      await lab.stop();
    },
    { scope: 'worker', timeout: 120_000 }
  ],
  page: async ({ page, lab }, use) => {
    await openLab(page, lab);
    await use(page);
  },
  panel: async ({ page }, use) => {
    await use(await openPanel(page));
  }
});

export { expect };

/** Log in with the token and wait until Lab is restored, in a workspace without what another test left open. */
export async function openLab(page: Page, lab: ILab, reset = true): Promise<void> {
  await page.goto(`${lab.url}lab?token=${lab.token}${reset ? '&reset' : ''}`);
  await restored(page);
}

export async function restored(page: Page): Promise<void> {
  await page.waitForFunction(() => 'jupyterapp' in window, undefined, { timeout: 60_000 });
  await page.evaluate(() => (window as unknown as { jupyterapp: { restored: Promise<void> } }).jupyterapp.restored);
  await page.locator('#jupyterlab-splash').waitFor({ state: 'detached' });
}

/** Run a Lab command as the palette would. */
export async function execute(page: Page, command: string, args: Record<string, unknown> = {}): Promise<void> {
  await page.evaluate(
    ([id, options]) =>
      void (
        window as unknown as { jupyterapp: { commands: { execute: (id: string, args: object) => Promise<unknown> } } }
      ).jupyterapp.commands.execute(id as string, options as object),
    [command, args] as const
  );
}

export async function openPanel(page: Page): Promise<Locator> {
  await execute(page, 'offload:open-panel');
  const panel = page.getByRole('region', { name: 'Offload' });
  await panel.waitFor();
  return panel;
}

/** No accessibility violation (WCAG 2.1 A and AA) below `selector`. */
export async function expectAccessible(page: Page, selector: string): Promise<void> {
  const result = await new AxeBuilder({ page }).include(selector).withTags(['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa']).analyze();
  const found = result.violations.map(v => `${v.id}: ${v.help}\n  ${v.nodes.map(n => n.html).join('\n  ')}`);
  expect(found).toEqual([]);
}

export async function setTheme(page: Page, theme: 'JupyterLab Light' | 'JupyterLab Dark'): Promise<void> {
  await execute(page, 'apputils:change-theme', { theme });
  await expect(page.locator('body')).toHaveAttribute('data-jp-theme-name', theme);
}
