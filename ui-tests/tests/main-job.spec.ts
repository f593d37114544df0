/** The main job, by mouse and keyboard: New cluster, open the notebook, run all cells, see the Z peak. */
import { type Page } from '@playwright/test';
import { docsImage } from '../support/images.js';
import { card, dialog, drawn, openNotebook, plotFrame, runAllCells, running } from '../support/offload.js';
import { execute, expect, test } from '../support/test.js';

/** So wide that a notebook and a dashboard beside it show their toolbars. */
const WIDE = { width: 1600, height: 900 };

test.use({ alone: 'main-job', viewport: { width: 1280, height: 800 } });

test('a newcomer finds the Z peak on the workers of a new cluster', async ({ page, panel, lab }) => {
  await expect(panel.getByText('A cluster computes your notebook’s Dask tasks')).toBeVisible();
  await expect(panel.getByRole('list', { name: 'Sites' })).toBeVisible();
  await page.locator('.jp-LauncherCard:visible').first().waitFor();
  await page.screenshot({ path: docsImage('panel-empty.png'), clip: { x: 0, y: 0, width: 760, height: 420 } });

  await panel.getByRole('button', { name: 'New cluster', exact: true }).click();
  const form = dialog(page, 'New cluster');
  await form.getByLabel('Name').fill('zmumu');
  await form.getByLabel('Number of workers').fill('2');
  await expect(form.getByText('looking…')).toHaveCount(0);
  await page.locator('.jp-Offload-newDialog .jp-Dialog-content').screenshot({ path: docsImage('new-cluster-dialog.png') });
  await form.getByRole('button', { name: 'Create' }).click();
  await expect(form).toBeHidden();
  const zmumu = card(panel, 'zmumu');
  await running(zmumu);
  await expect(zmumu.getByText('2 of 2 workers connected')).toBeVisible();
  await zmumu.getByText('What happened').click();
  await expect(zmumu.getByRole('list', { name: 'What happened to zmumu' })).toContainText('connected');
  await page.screenshot({ path: docsImage('cluster-running.png'), clip: await above(page, '.jp-Offload-sites') });
  await zmumu.getByText('What happened').click();

  const notebook = await openNotebook(page, 'zmumu-uproot.ipynb');
  await runAllCells(page, notebook);
  await expect(notebook.locator('.jp-OutputArea-output[data-mime-type="application/vnd.jupyter.stderr"]')).toHaveCount(0);

  // What the page shows, not what a kernel says: the fit, the plot and the tree of results.
  const fitted = await notebook.locator('.jp-OutputArea-output', { hasText: /mass\s+[\d.]+ ±/ }).first().innerText();
  const mass = Number(/mass\s+([0-9.]+)/.exec(fitted)?.[1]);
  expect(Math.abs(mass - 91.19)).toBeLessThan(0.1);
  const plot = notebook.locator('.jp-OutputArea-output img').last();
  await plot.scrollIntoViewIfNeeded();
  await expect(plot).toBeVisible();
  expect(await plot.evaluate((img: HTMLImageElement) => img.naturalWidth)).toBeGreaterThan(300);
  await notebook.screenshot({ path: docsImage('notebook-z-peak.png') });

  // The keeper hears a moment later what each worker has done.
  const tasksDone = async (): Promise<number[]> => {
    const record = (await (await lab.api('GET', '/clusters/zmumu')).json()) as { worker_list: { tasks_done: number }[] };
    return record.worker_list.map(worker => worker.tasks_done);
  };
  await expect.poll(async () => (await tasksDone()).filter(done => done > 0).length).toBe(2);

  // The notebook keeps the cluster, and a dashboard stands beside it.
  const button = notebook.getByRole('button', { name: /^Cluster of this notebook/ });
  await button.click();
  await page.getByRole('menuitem', { name: /zmumu/ }).first().click();
  await expect(button).toHaveAttribute('data-state', 'attached', { timeout: 60_000 });
  await page.setViewportSize(WIDE);
  const notebookId = await page.evaluate(() => (window as any).jupyterapp.shell.currentWidget.id as string);
  await execute(page, 'offload:open-dashboard', { id: 'zmumu', plot: 'individual-task-stream' });
  await expect(page.getByRole('tab', { name: 'Task Stream · zmumu' })).toBeVisible();
  await page.evaluate(id => {
    const { shell } = (window as any).jupyterapp;
    shell.add(shell.currentWidget, 'main', { mode: 'split-right', ref: id });
    shell.activateById(id);
  }, notebookId);
  await drawn(plotFrame(page, 'Task Stream of the cluster zmumu'));
  await runAllCells(page, notebook);
  await plot.scrollIntoViewIfNeeded();
  await page.waitForTimeout(1500); // the plots follow the work once a second
  await page.screenshot({ path: docsImage('panel.png') });

  await execute(page, 'offload:default-layout', { id: 'zmumu' });
  await drawn(plotFrame(page, 'Progress of the cluster zmumu'));
  await page.evaluate(id => (window as any).jupyterapp.shell.activateById(id), notebookId);
  await runAllCells(page, notebook);
  await page.waitForTimeout(1500);
  await page.locator('#jp-main-dock-panel').screenshot({ path: docsImage('dashboards.png') });
});

/** The left area down to the end of an element. */
async function above(page: Page, selector: string): Promise<{ x: number; y: number; width: number; height: number }> {
  const head = (await page.locator('.jp-Offload-panel').boundingBox())!;
  const last = (await page.locator(selector).boundingBox())!;
  return { x: head.x, y: head.y, width: head.width, height: last.y + last.height - head.y };
}
