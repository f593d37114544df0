/** A notebook and its cluster: insert, drag, attach, kernel restart, reload. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { card, newCluster, newNotebook, runCell, running } from '../support/offload.js';
import { execute, expect, openLab, restored, test } from '../support/test.js';

test('the client cell is inserted by the button and by drag, and runs', async ({ page, panel }) => {
  await newCluster(page, panel, { name: 'cells', workers: 1 });
  const cells = card(panel, 'cells');
  await running(cells);
  const notebook = await newNotebook(page);
  await cells.getByRole('button', { name: /^Insert client cell/ }).click();
  const inserted = notebook.locator('.jp-CodeCell', { hasText: 'offload.cluster("cells")' });
  await expect(inserted).toHaveCount(1);
  await inserted.click();
  await execute(page, 'notebook:run-cell');
  await expect(inserted.locator('.jp-OutputArea-output').first()).toContainText('Client', { timeout: 60_000 });
  expect(await runCell(page, notebook, 'print(client.submit(lambda: 6 * 7).result())')).toContain('42');

  const from = (await cells.getByText('This machine').boundingBox())!;
  const to = (await notebook.locator('.jp-Notebook-footer, .jp-CodeCell').last().boundingBox())!;
  await page.mouse.move(from.x + 5, from.y + 5);
  await page.mouse.down();
  await page.mouse.move(from.x + 40, from.y + 40, { steps: 5 });
  await page.mouse.move(to.x + 80, to.y + 10, { steps: 15 });
  await page.mouse.up();
  await expect(notebook.locator('.jp-CodeCell', { hasText: 'offload.cluster("cells")' })).toHaveCount(2);
});

test('an attached notebook keeps its cluster over kernel restart and reload', async ({ page, panel, lab }) => {
  await newCluster(page, panel, { name: 'mine', workers: 1 });
  await running(card(panel, 'mine'));
  const notebook = await newNotebook(page);
  const button = notebook.getByRole('button', { name: /^Cluster of this notebook/ });
  await expect(button).toContainText('No cluster');
  await button.click();
  await page.getByRole('menuitem', { name: /mine/ }).first().click();
  await expect(button).toHaveAttribute('data-state', 'attached', { timeout: 60_000 });
  await expect(button).toContainText('mine');
  expect(await runCell(page, notebook, 'print(client.submit(lambda: 6 * 7).result())')).toContain('42');

  await execute(page, 'kernelmenu:restart');
  await page.getByRole('dialog').getByRole('button', { name: 'Confirm Kernel Restart' }).click();
  await expect
    .poll(() => runCell(page, notebook, 'print(client.submit(lambda: 6 * 7).result())').catch(() => ''), { timeout: 60_000 })
    .toContain('42');

  await execute(page, 'docmanager:save');
  await expect(page.locator('.jp-mod-dirty')).toHaveCount(0);
  const file = fs.readdirSync(lab.folder).filter(name => name.startsWith('Untitled')).map(name => path.join(lab.folder, name));
  const saved = file.map(name => fs.readFileSync(name, 'utf8')).find(text => text.includes('"offload"'))!;
  expect(JSON.parse(saved).metadata.offload.cluster).toBe('mine');
  expect(saved).not.toContain('PRIVATE KEY');
  await page.waitForTimeout(2000);
  await page.goto(`${lab.url}lab`);
  await restored(page);
  await expect(page.getByRole('button', { name: /^Cluster of this notebook/ })).toHaveAttribute('data-state', 'attached', {
    timeout: 60_000
  });
});

test('clusters are in the running panel, the status bar, the launcher, the palette and the settings', async ({ page, panel, lab }) => {
  await newCluster(page, panel, { name: 'seen', workers: 1 });
  await running(card(panel, 'seen'));
  await expect(page.locator('.jp-Offload-statusButton')).toContainText(/cluster/);
  await execute(page, 'launcher:create');
  await expect(page.locator('.jp-LauncherCard:visible', { hasText: 'New Cluster' }).last()).toBeVisible();
  await execute(page, 'apputils:activate-command-palette');
  await page.keyboard.type('offload');
  await expect(page.getByRole('option').or(page.locator('.lm-CommandPalette-item')).filter({ hasText: /cluster/i }).first()).toBeVisible();
  await page.keyboard.press('Escape');
  await execute(page, 'settingeditor:open', { query: 'Offload' });
  await expect(page.getByText(/Offload/).first()).toBeVisible();
  await execute(page, 'running:show-panel');
  const item = page.locator('.jp-RunningSessions-item', { hasText: 'seen' });
  await expect(item).toBeVisible();
  await openLab(page, lab, false);
});
