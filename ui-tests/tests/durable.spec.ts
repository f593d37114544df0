/** What outlives the Jupyter server, the keeper and the browser. */
import { startLab, isAlive, type ILab } from '../support/lab.js';
import { card, newCluster, newNotebook, runCell, running } from '../support/offload.js';
import { expect, openLab, openPanel, test as base } from '../support/test.js';

// A lab of its own: this test kills it.
const test = base.extend<{ own: ILab }>({
  // eslint-disable-next-line no-empty-pattern
  own: async ({}, use) => {
    const lab = await startLab({ baseUrl: '/hub/user/a%40b.ch/' });
    await use(lab);
    await lab.stop();
  }
});

test('kill -9 of the server and of the keeper: the cluster computes on and is shown again with its history', async ({ browser, own }) => {
  const context = await browser.newContext();
  const page = await context.newPage();
  await openLab(page, own);
  const panel = await openPanel(page);
  await newCluster(page, panel, { name: 'lasting', workers: 1 });
  await running(card(panel, 'lasting'));
  const notebook = await newNotebook(page);
  const said = await runCell(
    page,
    notebook,
    [
      'import time',
      'from dask.distributed import Client, fire_and_forget',
      'import jupyter_offload as offload',
      'client = Client(offload.cluster("lasting"))',
      'future = client.submit(lambda: time.sleep(6) or 91, pure=False)',
      'client.publish_dataset(peak=future)',
      'print("submitted")'
    ].join('\n')
  );
  expect(said).toContain('submitted');
  await context.close();

  const worker = await workerPid(own);
  const keeper = (await (await own.api('GET', '/health')).json()) as { pid: number };
  await own.restart();
  process.kill(keeper.pid, 'SIGKILL');

  const again = await (await browser.newContext()).newPage();
  await openLab(again, own);
  const panelAgain = await openPanel(again);
  const lasting = card(panelAgain, 'lasting');
  await running(lasting);
  await lasting.getByText('What happened').click();
  await expect(lasting.getByRole('list', { name: 'What happened to lasting' })).toContainText('connected');
  expect(await workerPid(own)).toBe(worker);
  expect(isAlive(worker)).toBe(true);
  const newKeeper = (await (await own.api('GET', '/health')).json()) as { pid: number };
  expect(newKeeper.pid).not.toBe(keeper.pid);

  const second = await newNotebook(again);
  const result = await runCell(
    again,
    second,
    [
      'from dask.distributed import Client',
      'import jupyter_offload as offload',
      'client = Client(offload.cluster("lasting"))',
      'print("result", client.get_dataset("peak").result())'
    ].join('\n')
  );
  expect(result).toContain('result 91');
  await again.context().close();
});

async function workerPid(lab: ILab): Promise<number> {
  const record = (await (await lab.api('GET', '/clusters/lasting')).json()) as { worker_list: { pid: number }[] };
  return record.worker_list[0].pid;
}
