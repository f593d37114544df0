/** The main job, by mouse and keyboard: New cluster, open the notebook, run all cells, see the Z peak. */
import * as path from 'node:path';
import { REPOSITORY } from '../support/lab.js';
import { card, newCluster, openNotebook, runAllCells, running } from '../support/offload.js';
import { expect, test } from '../support/test.js';

const IMAGES = process.env.OFFLOAD_UPDATE_IMAGES ? path.join(REPOSITORY, 'docs/images') : 'test-results/images';

test('a newcomer finds the Z peak on the workers of a new cluster', async ({ page, panel, lab }) => {
  await expect(panel.getByText('A cluster computes your notebook’s Dask tasks')).toBeVisible();
  await page.screenshot({ path: `${IMAGES}/panel-empty.png` });

  await newCluster(page, panel, { name: 'zmumu', workers: 2 });
  const zmumu = card(panel, 'zmumu');
  await running(zmumu);
  await expect(zmumu.getByText('2 of 2 workers connected')).toBeVisible();

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
  await page.screenshot({ path: `${IMAGES}/notebook-z-peak.png` });

  const record = (await (await lab.api('GET', '/clusters/zmumu')).json()) as {
    worker_list: { name: string; tasks_done: number }[];
  };
  expect(record.worker_list).toHaveLength(2);
  for (const worker of record.worker_list) {
    expect(worker.tasks_done, worker.name).toBeGreaterThan(0);
  }
  await page.screenshot({ path: `${IMAGES}/cluster-running.png` });
});
