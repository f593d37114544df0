/** Dask dashboards as Lab panes: sandboxed, of two clusters side by side, back after a reload. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { image } from '../support/images.js';
import { card, drawn, newCluster, newNotebook, plotFrame, runCell, running } from '../support/offload.js';
import { execute, expect, restored, test } from '../support/test.js';

test('panes of two clusters draw side by side, sandboxed, and come back after a reload', async ({ page, panel, lab }) => {
  for (const name of ['left', 'right']) {
    await newCluster(page, panel, { name, workers: 1 });
    await running(card(panel, name));
  }
  const notebook = await newNotebook(page);
  const count = await runCell(
    page,
    notebook,
    [
      'import time',
      'from dask.distributed import Client',
      'import jupyter_offload as offload',
      'clients = [Client(offload.cluster(name)) for name in ("left", "right")]',
      'for client in clients:',
      '    client.gather(client.map(lambda x: time.sleep(0.02) or x, range(40), pure=False))',
      'print(len(clients), "clients")'
    ].join('\n')
  );
  expect(count).toContain('2 clients');

  await execute(page, 'offload:open-dashboard', { id: 'left', plot: 'individual-task-stream' });
  await execute(page, 'offload:open-dashboard', { id: 'right', plot: 'individual-task-stream' });
  for (const name of ['left', 'right']) {
    await expect(page.getByRole('tab', { name: `Task Stream · ${name}` })).toBeVisible();
  }
  const right = plotFrame(page, 'Task Stream of the cluster right');
  await drawn(right);

  // The page in the frame can reach neither the cookies nor the API of Jupyter.
  const frame = page.frames().find(it => it.url().includes('/offload/v1/view/'))!;
  expect(
    await frame.evaluate(() => {
      try {
        return document.cookie;
      } catch (error) {
        return (error as Error).name;
      }
    })
  ).toBe('SecurityError');
  const reached = await frame.evaluate(
    url =>
      fetch(url, { credentials: 'include' }).then(
        answer => answer.status,
        () => 'blocked'
      ),
    `${lab.url}api/contents`
  );
  expect(reached).toBe('blocked');

  // Side by side: both are visible at once.
  await page.evaluate(() => {
    const app = (window as any).jupyterapp;
    const panes = [...app.shell.widgets('main')].filter((it: any) => it.title.label.startsWith('Task Stream'));
    app.shell.add(panes[1], 'main', { mode: 'split-right', ref: panes[0].id });
  });
  await drawn(plotFrame(page, 'Task Stream of the cluster left'));
  await drawn(right);
  await page.screenshot({ path: image('dashboards-of-two-clusters.png') });

  // Lab saves its layout a moment after it changed; what it saves holds no ticket.
  await page.waitForTimeout(2500);
  const workspaces = fs
    .readdirSync(path.join(lab.home, 'config/lab/workspaces'))
    .map(file => fs.readFileSync(path.join(lab.home, 'config/lab/workspaces', file), 'utf8'))
    .join('');
  expect(workspaces).toContain('individual-task-stream');
  expect(workspaces).not.toContain('/view/');
  await page.goto(`${lab.url}lab`);
  await restored(page);
  await drawn(plotFrame(page, 'Task Stream of the cluster left'));
  await drawn(plotFrame(page, 'Task Stream of the cluster right'));
  const serverLog = fs.readFileSync(path.join(lab.home, 'server.log'), 'utf8');
  const ticket = /\/view\/([A-Za-z0-9_-]{20,})\//.exec(page.frames().map(it => it.url()).join('\n'))![1];
  expect(serverLog).not.toContain(ticket);

  // A finished cluster's pane says so and offers what to do.
  await execute(page, 'offload:open-panel');
  await card(panel, 'left').getByRole('button', { name: /^Shut down/ }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Shut down' }).click();
  await expect(page.getByRole('heading', { name: 'left has stopped' })).toBeVisible({ timeout: 30_000 });
});

test('the default layout opens several plots at once', async ({ page, panel }) => {
  await newCluster(page, panel, { name: 'layout', workers: 1 });
  await running(card(panel, 'layout'));
  await execute(page, 'offload:default-layout', { id: 'layout' });
  for (const title of ['Task Stream', 'Progress', 'Workers Memory']) {
    await expect(page.getByRole('tab', { name: new RegExp(`${title}.* · layout`, 'i') }).first()).toBeVisible();
  }
});
