/** A site whose workers can only dial out: from the dialog to the result, and what the card says when the relay is gone. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { image } from '../support/images.js';
import { isAlive, PYTHON, REPOSITORY, startLab, type ILab } from '../support/lab.js';
import { card, dialog, drawn, newNotebook, plotFrame, runCell, running } from '../support/offload.js';
import { execute, expect, expectAccessible, openLab, openPanel, test as base } from '../support/test.js';

/** The backend of the tests in Python, as a plugin; its workers know nothing but what the product hands to a job. */
function declareSite(home: string): Record<string, string> {
  const plugin = path.join(home, 'plugin');
  const info = path.join(plugin, 'far-1.dist-info');
  fs.mkdirSync(info, { recursive: true });
  fs.copyFileSync(path.join(REPOSITORY, 'tests/system/relay_keeper/far_backend.py'), path.join(plugin, 'far_backend.py'));
  fs.writeFileSync(path.join(info, 'METADATA'), 'Metadata-Version: 2.1\nName: far\nVersion: 1\n');
  fs.writeFileSync(path.join(info, 'entry_points.txt'), '[jupyter_offload.backends]\nfar = far_backend:FarBackend\n');
  const offload = path.join(home, 'config/offload');
  fs.mkdirSync(path.join(offload, 'sites'), { recursive: true });
  fs.writeFileSync(path.join(offload, 'relay.yaml'), 'embedded: {host: 127.0.0.1, bind: 127.0.0.1}\n');
  const site = {
    title: 'Behind a firewall',
    backend: 'far',
    profiles: [{ name: 'small', cores: 1, memory_bytes: '1 GiB', maximum_workers: 4 }],
    options: { python: PYTHON, folder: path.join(home, 'far workers'), arguments: ['--no-nanny'] }
  };
  fs.writeFileSync(path.join(offload, 'sites/far.yaml'), JSON.stringify(site));
  return { PYTHONPATH: plugin };
}

// A lab of its own: it has a plugin, and its relay is killed.
const test = base.extend<{ own: ILab }>({
  // eslint-disable-next-line no-empty-pattern
  own: async ({}, use) => {
    const lab = await startLab({ prepare: declareSite });
    await use(lab);
    await lab.stop();
  }
});

function relayProcess(lab: ILab): number {
  const [file] = fs
    .readdirSync(lab.runtime, { recursive: true, encoding: 'utf8' })
    .filter(name => path.basename(name) === 'relay.json');
  return (JSON.parse(fs.readFileSync(path.join(lab.runtime, file), 'utf8')) as { pid: number }).pid;
}

test('workers behind a firewall compute, dashboards open, and a relay that is killed loses nothing', async ({ browser, own }) => {
  const page = await (await browser.newContext()).newPage();
  await openLab(page, own);
  const panel = await openPanel(page);
  await panel.getByRole('button', { name: 'New cluster', exact: true }).click();
  const form = dialog(page, 'New cluster');
  await form.getByRole('radio', { name: /Behind a firewall/ }).check();
  await form.getByLabel('Name').fill('far');
  await form.getByLabel('Number of workers').fill('2');
  await form.getByText('What will be submitted').click();
  await expect(form.getByRole('region', { name: 'What will be submitted' })).toContainText('relay://scheduler');
  await page.screenshot({ path: image('relay-dialog.png') });
  await form.getByRole('button', { name: 'Create' }).click();
  await expect(form).toBeHidden();
  const far = card(panel, 'far');
  await running(far);
  await expect(far.getByText('2 of 2 workers connected')).toBeVisible({ timeout: 60_000 });

  const notebook = await newNotebook(page);
  const said = await runCell(
    page,
    notebook,
    [
      'import time, os',
      'from dask.distributed import Client',
      'import jupyter_offload as offload',
      'client = Client(offload.cluster("far"))',
      'print(sorted(a.partition("://")[0] for a in client.scheduler_info()["workers"]))',
      'kept = client.map(lambda x: (x, os.getpid()), range(20), pure=False)',
      'before = client.gather(kept)',
      'print("result", sum(x for x, _ in before))'
    ].join('\n')
  );
  expect(said).toContain("['relay', 'relay']");
  expect(said).toContain('result 190');

  const killed = relayProcess(own);
  process.kill(killed, 'SIGKILL');
  const after = await runCell(
    page,
    notebook,
    [
      'print("kept", client.gather(kept) == before)',
      'print("result", client.submit(sum, [1, 2, 3], pure=False).result())'
    ].join('\n')
  );
  expect(after).toContain('kept True');
  expect(after).toContain('result 6');
  await expect.poll(() => relayProcess(own), { timeout: 30_000 }).not.toBe(killed);
  await expect(far).toHaveAttribute('data-phase', 'running');
  await expect(far.getByText('2 of 2 workers connected')).toBeVisible({ timeout: 60_000 });
  await expectAccessible(page, '.jp-Offload-panel');

  await execute(page, 'offload:open-dashboard', { id: 'far', plot: 'individual-task-stream' });
  await drawn(plotFrame(page, 'Task Stream of the cluster far'));
  await page.screenshot({ path: image('relay-running.png') });

  const relay = relayProcess(own);
  await far.getByRole('button', { name: /^Shut down/ }).click();
  await dialog(page, 'Shut down far?').getByRole('button', { name: 'Shut down' }).click();
  await expect(far).toHaveAttribute('data-phase', 'stopped', { timeout: 30_000 });
  await expect(far.getByText('Nothing of it is left running.')).toBeVisible();
  await expect.poll(() => isAlive(relay), { timeout: 30_000 }).toBe(false);
  await page.context().close();
});

test('a facility relay that does not answer: the card says who waits for what', async ({ browser, own }) => {
  fs.writeFileSync(
    path.join(own.home, 'config/offload/relay.yaml'),
    JSON.stringify({ addresses: ['127.0.0.1:1'], domain: 'relay.facility.test', admission: path.join(own.runtime, 'no-relay.sock') })
  );
  const page = await (await browser.newContext()).newPage();
  await openLab(page, own);
  const panel = await openPanel(page);
  await panel.getByRole('button', { name: 'New cluster', exact: true }).click();
  const form = dialog(page, 'New cluster');
  await form.getByRole('radio', { name: /Behind a firewall/ }).check();
  await form.getByLabel('Name').fill('waiting');
  await form.getByRole('button', { name: 'Create' }).click();
  const waiting = card(panel, 'waiting');
  await expect(waiting).toContainText(/relay\.facility\.test/, { timeout: 60_000 });
  await expect(waiting).not.toHaveAttribute('data-phase', 'failed');
  await page.screenshot({ path: image('relay-waiting.png') });
  await expectAccessible(page, '.jp-Offload-panel');
  await page.context().close();
});
