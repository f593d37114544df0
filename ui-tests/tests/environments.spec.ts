/** Kernels of other Pythons: one without Dask, and one with Dask but without our package. */
import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { PYTHON, type ILab } from '../support/lab.js';
import { image } from '../support/images.js';
import { card, dialog, newCluster, newNotebook, running } from '../support/offload.js';
import { execute, expect, openLab, openPanel, test } from '../support/test.js';

/** Make a virtual environment and its kernelspec; resolves to its site-packages. */
async function makeKernel(lab: ILab, name: string, title: string): Promise<string> {
  const folder = path.join(lab.home, 'environments', name);
  execFileSync(PYTHON, ['-m', 'venv', '--without-pip', folder], { timeout: 60_000 });
  const spec = path.join(lab.home, 'data/kernels', name);
  fs.mkdirSync(spec, { recursive: true });
  const argv = [path.join(folder, 'bin/python'), '-m', 'ipykernel_launcher', '-f', '{connection_file}'];
  fs.writeFileSync(path.join(spec, 'kernel.json'), JSON.stringify({ argv, display_name: title, language: 'python' }));
  return sitePackages(path.join(folder, 'bin/python'));
}

function sitePackages(python: string): string {
  return execFileSync(python, ['-c', 'import sysconfig; print(sysconfig.get_paths()["purelib"])'], { encoding: 'utf8' }).trim();
}

test('an environment without Dask is greyed, with the line that mends it', async ({ page, lab }) => {
  await makeKernel(lab, 'bare', 'Bare Python');
  expect((await lab.api('GET', '/environments?refresh=true')).ok).toBe(true);
  await openLab(page, lab);
  const panel = await openPanel(page);
  await panel.getByRole('button', { name: 'New cluster', exact: true }).click();
  const form = dialog(page, 'New cluster');
  const option = form.getByRole('option', { name: /^Bare Python/ });
  await expect(option).toBeDisabled();
  await expect(option).toContainText(/Python 3\.\d+\.\d+ — /);
  await form.getByText(/environments? cannot be used/).click();
  const line = form.locator('.jp-Offload-unusable code').first();
  await expect(line).toContainText('pip install');
  await expect(line).toContainText('distributed');
  await page.locator('.jp-Offload-newDialog .jp-Dialog-content').screenshot({ path: image('environment-unusable.png') });
  await page.keyboard.press('Escape');
});

test('a kernel without our package gets a client cell of plain Dask', async ({ page, lab }) => {
  const target = await makeKernel(lab, 'plain', 'Plain Dask');
  const source = sitePackages(PYTHON);
  for (const name of fs.readdirSync(source)) {
    // All that the tested Python has, but not this package: neither installed nor editable.
    if (!/jupyter_offload|\.pth$/.test(name) && !fs.existsSync(path.join(target, name))) {
      fs.symlinkSync(path.join(source, name), path.join(target, name));
    }
  }
  expect((await lab.api('GET', '/environments?refresh=true')).ok).toBe(true);
  await openLab(page, lab);
  const panel = await openPanel(page);
  await newCluster(page, panel, { name: 'plain', workers: 1 });
  const plain = card(panel, 'plain');
  await running(plain);
  const notebook = await newNotebook(page, 'plain');
  await plain.getByRole('button', { name: /^Insert client cell/ }).click();
  const cell = notebook.locator('.jp-CodeCell', { hasText: 'Security(' });
  await expect(cell).toHaveCount(1);
  await expect(cell).not.toContainText('import jupyter_offload');
  await cell.click();
  await execute(page, 'notebook:run-cell');
  await expect(cell.locator('.jp-OutputArea-output').first()).toContainText('Client', { timeout: 60_000 });
});
