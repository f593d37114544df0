/** The main job on an interLink virtual node: pods that can dial one port find the Z, and what the card says when it goes wrong. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { type Locator, type Page } from '@playwright/test';
import { image } from '../support/images.js';
import { startLab, type ILab } from '../support/lab.js';
import {
  card,
  dialog,
  drawn,
  openNotebook,
  plotFrame,
  runAllCells,
  running
} from '../support/offload.js';
import { execute, expect, expectAccessible, openLab, openPanel, test as base } from '../support/test.js';
import { startVirtualNode, type IVirtualNode } from '../support/virtualNode.js';

interface IFar {
  node: IVirtualNode;
  lab: ILab;
}

// One for the file: its node is ready after half a minute.
const test = base.extend<object, { far: IFar }>({
  far: [
    // eslint-disable-next-line no-empty-pattern
    async ({}, use) => {
      const node = await startVirtualNode();
      const lab = await startLab({
        prepare: home => {
          const offload = path.join(home, 'config/offload');
          fs.mkdirSync(path.join(offload, 'sites'), { recursive: true });
          fs.writeFileSync(path.join(offload, 'relay.yaml'), JSON.stringify(node.relay));
          // Data lies on this machine: workers read it as from a file system that the site shares.
          const site = { ...node.site, title: 'Leonardo', images: [{ name: 'open', image: 'open' }, { name: 'missing', image: 'nowhere/none' }] };
          fs.writeFileSync(path.join(offload, 'sites/leonardo.yaml'), JSON.stringify(site));
          return {};
        }
      });
      await use({ node, lab });
      await lab.stop();
      await node.stop();
    },
    { scope: 'worker', timeout: 180_000 }
  ]
});

async function ask(page: Page, panel: Locator, name: string, profile: string, more?: (form: Locator) => Promise<void>): Promise<Locator> {
  await panel.getByRole('button', { name: 'New cluster', exact: true }).click();
  const form = dialog(page, 'New cluster');
  await form.getByRole('radio', { name: /Leonardo/ }).check();
  await form.getByLabel('Name').fill(name);
  await form.getByLabel('Worker', { exact: true }).selectOption(profile);
  await more?.(form);
  await form.getByRole('button', { name: 'Create' }).click();
  await expect(form).toBeHidden();
  return card(panel, name);
}

async function stop(page: Page, cluster: Locator, name: string): Promise<void> {
  await cluster.getByRole('button', { name: /^Shut down/ }).click();
  await dialog(page, `Shut down ${name}?`).getByRole('button', { name: 'Shut down' }).click();
  await expect(cluster).toHaveAttribute('data-phase', 'stopped', { timeout: 60_000 });
}

test('pods that can only dial out find the Z peak, and nothing of them is left', async ({ browser, far }) => {
  const { node, lab } = far;
  const page = await (await browser.newContext({ viewport: { width: 1500, height: 950 } })).newPage();
  await openLab(page, lab);
  const panel = await openPanel(page);
  await expect(panel.getByText(/A100 2 of 2 free/)).toBeVisible({ timeout: 60_000 });
  await page.screenshot({ path: image('virtual-node-sites.png') });

  await panel.getByRole('button', { name: 'New cluster', exact: true }).click();
  const form = dialog(page, 'New cluster');
  await form.getByRole('radio', { name: /Leonardo/ }).check();
  await form.getByLabel('Name').fill('zmumu');
  await form.getByLabel('Worker', { exact: true }).selectOption('gpu');
  await form.getByLabel('Number of workers').fill('3');
  await expect(form.getByText(/3 workers need 3 × .*A100; 2 free now/)).toBeVisible();
  await form.getByLabel('Number of workers').fill('2');
  await form.getByText('What will be submitted').click();
  await expect(form.getByRole('region', { name: 'What will be submitted' })).toContainText('nvidia.com/gpu');
  await page.screenshot({ path: image('virtual-node-dialog.png') });
  await form.getByRole('button', { name: 'Create' }).click();
  const zmumu = card(panel, 'zmumu');
  await running(zmumu);
  await expect(zmumu.getByText('2 of 2 workers connected')).toBeVisible({ timeout: 60_000 });
  const record = (await (await lab.api('GET', '/clusters/zmumu')).json()) as { id: string };
  if (node.walled) {
    expect(await node.reachable()).toEqual([node.port]);
  }

  const notebook = await openNotebook(page, 'zmumu-uproot.ipynb');
  await runAllCells(page, notebook);
  const fitted = await notebook.locator('.jp-OutputArea-output', { hasText: /mass\s+[\d.]+ ±/ }).first().innerText();
  expect(Math.abs(Number(/mass\s+([0-9.]+)/.exec(fitted)?.[1]) - 91.19)).toBeLessThan(0.1);
  await execute(page, 'offload:open-dashboard', { id: 'zmumu', plot: 'individual-task-stream' });
  await drawn(plotFrame(page, 'Task Stream of the cluster zmumu'));
  await zmumu.getByText('Workers', { exact: true }).click();
  await expect(zmumu.getByRole('list', { name: 'Workers of zmumu' })).toContainText('job-');
  await page.screenshot({ path: image('virtual-node-running.png') });
  await expectAccessible(page, '.jp-Offload-panel');

  const before = await node.left(record.id);
  expect([before.pods.length, before.secrets.length, before.jobs.length]).toEqual([2, 2, 2]);
  await stop(page, zmumu, 'zmumu');
  await expect(zmumu.getByText('Nothing of it is left running.')).toBeVisible();
  await expect
    .poll(() => node.left(record.id), { timeout: 30_000 })
    .toEqual({ pods: [], secrets: [], jobs: [], processes: [] });
  await page.context().close();
});

test('the card says what workers wait for, in the words of the site', async ({ browser, far }) => {
  const { node, lab } = far;
  const page = await (await browser.newContext()).newPage();
  await openLab(page, lab);
  const panel = await openPanel(page);

  await node.misbehave({ queue: 'Priority' });
  const queued = await ask(page, panel, 'queued', 'small');
  await expect(queued).toContainText(/PENDING \(Priority\)/, { timeout: 60_000 });
  await expect(queued.getByRole('list', { name: 'What the workers of queued wait for' })).toContainText(
    '2 in the queue of the site'
  );
  await page.screenshot({ path: image('virtual-node-queued.png') });
  await expectAccessible(page, '.jp-Offload-panel');

  await node.misbehave();
  const lacking = await ask(page, panel, 'lacking', 'gpu', async form => {
    await form.getByLabel('Number of workers').fill('3');
  });
  await expect(lacking).toContainText(/Insufficient nvidia\.com\/gpu/, { timeout: 60_000 });

  const imageless = await ask(page, panel, 'imageless', 'small', async form => {
    await form.getByLabel('Image').selectOption('missing');
    await form.getByLabel('Number of workers').fill('1');
  });
  await expect(imageless).toContainText(/nowhere\/none/, { timeout: 60_000 });
  await page.screenshot({ path: image('virtual-node-faults.png') });
  for (const [name, cluster] of Object.entries({ queued, lacking, imageless })) {
    await lab.api('DELETE', `/clusters/${name}`);
    await expect(cluster).toHaveAttribute('data-phase', 'stopped', { timeout: 60_000 });
  }

  await node.misbehave({ refuse: 'partition gpu is closed for maintenance' });
  const refused = await ask(page, panel, 'refused', 'small', async form => {
    await form.getByLabel('Number of workers').fill('1');
  });
  await expect(refused).toContainText(/partition gpu is closed for maintenance/, { timeout: 60_000 });
  await expect(refused).toHaveAttribute('data-phase', 'failed', { timeout: 120_000 });
  await page.screenshot({ path: image('virtual-node-refused.png') });
  await node.misbehave();
  await page.context().close();
});
