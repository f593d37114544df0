/** Under a real JupyterHub below a prefix, in the browser from the login page on. */
import { test as base } from '@playwright/test';
import { image } from '../support/images.js';
import { startHub, type IHub } from '../support/hub.js';
import { isAlive } from '../support/lab.js';
import { card, dialog, drawn, newCluster, plotFrame, running } from '../support/offload.js';
import { execute, expect, openPanel, restored } from '../support/test.js';

const test = base.extend<{ hub: IHub }>({
  // eslint-disable-next-line no-empty-pattern
  hub: async ({}, use) => {
    const hub = await startHub({ JUPYTER_OFFLOAD_ENDS_WITH_SERVER: '1' });
    await use(hub);
    await hub.stop();
  }
});

test('log in, make a cluster, see a dashboard, and read that it ends with the server', async ({ page, hub }) => {
  await page.goto(hub.url);
  await page.getByLabel('Username').fill('alice');
  await page.getByLabel('Password').fill(hub.password);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.waitForURL('**/prefix/user/alice/lab**', { timeout: 120_000 });
  await restored(page);
  const panel = await openPanel(page);
  await newCluster(page, panel, { name: 'zmumu', workers: 1 });
  const zmumu = card(panel, 'zmumu');
  await running(zmumu);
  await expect(zmumu.getByText('ends with this server')).toBeVisible();

  await execute(page, 'offload:open-dashboard', { id: 'zmumu', plot: 'individual-workers-memory' });
  const frame = page.locator('iframe[title="Workers Memory of the cluster zmumu"]');
  await expect(frame).toHaveAttribute('sandbox', 'allow-scripts');
  await expect(frame).toHaveAttribute('src', /\/prefix\/user\/alice\/offload\/v1\/view\//);
  await drawn(plotFrame(page, 'Workers Memory of the cluster zmumu'));
  await page.screenshot({ path: image('hub.png') });

  await zmumu.getByRole('button', { name: /^Shut down/ }).click();
  await dialog(page, 'Shut down zmumu?').getByRole('button', { name: 'Shut down' }).click();
  await expect(zmumu).toHaveAttribute('data-phase', 'stopped', { timeout: 30_000 });

  const all = hub.processes();
  expect(all.length).toBeGreaterThan(1);
  await page.goto('about:blank');
  await hub.stop();
  expect(all.filter(isAlive)).toEqual([]);
});
