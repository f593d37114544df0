/** Cards and dialogs: every action of a cluster's life, and what goes wrong in it. */
import * as fs from 'node:fs';
import { image } from '../support/images.js';
import { card, dialog, newCluster, newNotebook, runCell, running } from '../support/offload.js';
import { isAlive, type ILab } from '../support/lab.js';
import { expect, test } from '../support/test.js';

interface IRecord {
  id: string;
  phase: string;
  spec: { workers: number; lifetime_s: number | null };
  worker_list: { name: string; pid: number; state: string }[];
  workers: { connected: number };
}

async function record(lab: ILab, name: string): Promise<IRecord> {
  return (await (await lab.api('GET', `/clusters/${name}`)).json()) as IRecord;
}

test('scale, adapt, extend, logs, timeline, shut down, start again, forget', async ({ page, panel, lab }) => {
  await newCluster(page, panel, { name: 'life', workers: 1 });
  const life = card(panel, 'life');
  await running(life);

  await life.getByRole('button', { name: /^Scale/ }).click();
  const scale = dialog(page, 'Scale life');
  await scale.getByLabel('Number of workers').fill('2');
  await scale.getByRole('button', { name: 'Scale' }).click();
  await expect(life.getByText('2 of 2 workers connected')).toBeVisible();
  expect((await record(lab, 'life')).workers.connected).toBe(2);

  await life.getByRole('button', { name: /^More actions/ }).click();
  await page.getByRole('menuitem', { name: /Extend/ }).click();
  const extend = dialog(page, 'Extend life');
  await extend.getByLabel('Ends at the latest').selectOption({ label: 'in 4 h' });
  await extend.getByRole('button', { name: 'Change' }).click();
  await expect(extend).toBeHidden();
  await expect.poll(async () => (await record(lab, 'life')).spec.lifetime_s).toBeGreaterThan(3.9 * 3600);
  await expect(life.getByText(/ends/)).toBeVisible();

  await life.getByRole('button', { name: /^Logs/ }).click();
  const log = page.getByRole('log');
  await expect(log).toContainText('distributed', { timeout: 30_000 });
  await page.getByRole('combobox', { name: 'Source of the log' }).selectOption('w0');
  await expect(log).toContainText('worker', { ignoreCase: true });

  await life.getByText('What happened').click();
  await expect(life.getByRole('list', { name: 'What happened to life' })).toContainText('connected');

  const pids = (await record(lab, 'life')).worker_list.map(worker => worker.pid);
  await life.getByRole('button', { name: /^Shut down/ }).click();
  const sure = dialog(page, 'Shut down life?');
  await sure.getByRole('button', { name: 'Cancel' }).click();
  await expect(life).toHaveAttribute('data-phase', 'running');
  await life.getByRole('button', { name: /^Shut down/ }).click();
  await sure.getByRole('button', { name: 'Shut down' }).click();
  await expect(life).toHaveAttribute('data-phase', 'stopped', { timeout: 30_000 });
  await expect(life.getByText('Nothing of it is left running.')).toBeVisible();
  expect(pids.filter(isAlive)).toEqual([]);

  // Logs outlive the workers.
  await expect(log).toBeVisible();

  await life.getByRole('button', { name: /^Start again/ }).click();
  const again = dialog(page, 'New cluster');
  await again.getByRole('button', { name: 'Create' }).click();
  await expect(panel.locator('[data-phase="running"]')).toHaveCount(1, { timeout: 60_000 });
  const stopped = panel.locator('[data-phase="stopped"]');
  await stopped.getByRole('button', { name: /^Forget/ }).click();
  await dialog(page, /^Forget/).getByRole('button', { name: 'Forget' }).click();
  await expect(stopped).toHaveCount(0);
});

test('the dialog tells mistakes while typing and keeps what was typed', async ({ page, panel }) => {
  await panel.getByRole('button', { name: 'New cluster', exact: true }).click();
  const form = dialog(page, 'New cluster');
  await expect(form.getByLabel('Name')).toBeFocused();
  await form.getByLabel('Number of workers').fill('1000000');
  await expect(form.getByRole('alert').first()).toBeVisible();
  await form.getByRole('button', { name: 'Create' }).click();
  await expect(form).toBeVisible();
  await expect(form.getByLabel('Number of workers')).toHaveValue('1000000');
  await form.getByLabel('Number of workers').fill('1');
  await form.getByLabel('Name').fill('no spaces allowed');
  await expect(form.getByRole('alert').first()).toBeVisible();
  await form.getByLabel('Name').fill('fine');
  await expect(form.getByRole('alert')).toHaveCount(0);
  await form.getByText('What will be submitted').click();
  await expect(form.getByRole('region', { name: 'What will be submitted' })).toContainText('python');
  await page.keyboard.press('Escape');
  await expect(form).toBeHidden();
  await expect(panel.getByRole('button', { name: 'New cluster', exact: true })).toBeFocused();
});

test('by keyboard alone: Enter creates, and the last choice is remembered', async ({ page, panel }) => {
  await panel.getByRole('button', { name: 'New cluster', exact: true }).focus();
  await page.keyboard.press('Enter');
  const form = dialog(page, 'New cluster');
  await form.getByLabel('Number of workers').fill('1');
  await form.getByLabel('Name').fill('keys');
  await page.keyboard.press('Enter');
  await expect(form).toBeHidden();
  const keys = card(panel, 'keys');
  await running(keys);
  await panel.getByRole('button', { name: 'New cluster', exact: true }).click();
  await expect(form.getByLabel('Number of workers')).toHaveValue('1');
  await expect(form.getByLabel('Name')).not.toHaveValue('keys');
  await page.keyboard.press('Escape');
});

test('a worker and then the scheduler are killed: the card says what happened', async ({ page, panel, lab }) => {
  await newCluster(page, panel, { name: 'hurt', workers: 1 });
  const hurt = card(panel, 'hurt');
  await running(hurt);
  const [worker] = (await record(lab, 'hurt')).worker_list;
  process.kill(worker.pid, 'SIGKILL');
  await hurt.getByText('What happened').click();
  await expect(hurt).toContainText('SIGKILL', { timeout: 20_000 });
  await expect.poll(async () => (await record(lab, 'hurt')).workers.connected, { timeout: 30_000 }).toBe(1);

  const scheduler = schedulerOf((await record(lab, 'hurt')).worker_list[0].pid);
  process.kill(scheduler, 'SIGKILL');
  await expect(hurt).toHaveAttribute('data-phase', 'failed', { timeout: 20_000 });
  await expect(hurt).toContainText('scheduler process died');
  await expect(hurt).toContainText('Nothing of it is left running.');

  // Whoever looks elsewhere is told, in one line, with what can be done.
  const told = page.locator('.jp-toastContainer .Toastify__toast, .Toastify__toast').filter({ hasText: 'Cluster hurt failed' });
  await expect(told.first()).toContainText('scheduler process died');
  await expect(told.first().getByRole('button', { name: 'Start again…' })).toBeVisible();
  await told.first().getByRole('button', { name: 'Logs' }).click();
  await expect(page.getByRole('log')).toBeVisible();
});

test('a narrow card keeps its buttons on one line and nothing sticks out', async ({ page, panel }) => {
  await newCluster(page, panel, { name: 'a-rather-long-name-for-a-narrow-panel-00', workers: 1 });
  const narrow = card(panel, 'a-rather-long-name-for-a-narrow-panel-00');
  await running(narrow);
  await page.evaluate(() => (window as any).jupyterapp.shell._hsplitPanel.setRelativeSizes([250, 1150, 0]));
  await expect.poll(async () => Math.round((await panel.boundingBox())!.width)).toBeLessThanOrEqual(260);
  await narrow.getByText('What happened').click();
  const buttons = await narrow.locator('.jp-Offload-buttons button').evaluateAll(all =>
    all.map(it => it.getBoundingClientRect()).map(({ top, right }) => ({ top, right }))
  );
  expect(buttons.length).toBeGreaterThanOrEqual(6);
  expect(new Set(buttons.map(it => it.top)).size).toBe(1);
  const box = (await narrow.boundingBox())!;
  expect(Math.max(...buttons.map(it => it.right))).toBeLessThanOrEqual(box.x + box.width);
  const wide = await panel.evaluate(node =>
    [node, ...Array.from(node.querySelectorAll('.jp-Offload-card, .jp-Offload-card > :not(.jp-Offload-cardHead)'))]
      .filter(it => it.scrollWidth > it.clientWidth + 1 && getComputedStyle(it).display !== 'inline')
      .map(it => it.className)
  );
  expect(wide).toEqual([]);
  await page.screenshot({ path: image('card-narrow.png'), clip: (await panel.boundingBox())! });
});

test('the dialog attaches the notebook of now when asked to', async ({ page, panel }) => {
  const notebook = await newNotebook(page);
  await panel.getByRole('button', { name: 'New cluster', exact: true }).click();
  const form = dialog(page, 'New cluster');
  const attach = form.getByRole('checkbox', { name: /^Attach Untitled.*\.ipynb$/ });
  await expect(attach).toBeChecked();
  await form.getByLabel('Name').fill('offered');
  await form.getByLabel('Number of workers').fill('1');
  await form.getByRole('button', { name: 'Create' }).click();
  const button = notebook.getByRole('button', { name: /^Cluster of this notebook/ });
  await expect(button).toHaveAttribute('data-state', 'attached', { timeout: 60_000 });
  expect(await runCell(page, notebook, 'print(client.submit(lambda: 6 * 7).result())')).toContain('42');

  // It has a cluster now, which another one does not take away.
  await panel.getByRole('button', { name: 'New cluster', exact: true }).click();
  await expect(attach).not.toBeChecked();
  await page.keyboard.press('Escape');
});

/** The scheduler is the other child of the worker's supervisor: the eldest. */
function schedulerOf(worker: number): number {
  const parent = (pid: number): number =>
    Number(/\nPPid:\s+(\d+)/.exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
  const supervisor = parent(worker);
  const siblings = fs
    .readdirSync('/proc')
    .filter(name => /^\d+$/.test(name) && Number(name) !== worker)
    .map(Number)
    .filter(pid => {
      try {
        return parent(pid) === supervisor;
      } catch {
        return false;
      }
    });
  expect(siblings).toHaveLength(1);
  return siblings[0];
}
