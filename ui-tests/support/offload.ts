/** What a user does in the panel and in notebooks, in the user's words. */
import { type FrameLocator, type Locator, type Page } from '@playwright/test';
import { execute, expect } from './test.js';

export interface INewCluster {
  name: string;
  workers?: number;
}

export function card(panel: Locator, name: string): Locator {
  return panel.getByRole('listitem').filter({ has: panel.page().getByRole('button', { name, exact: true }) });
}

export function dialog(page: Page, title: string | RegExp): Locator {
  return page.getByRole('dialog', { name: title });
}

/** Click New cluster, fill in the form, create. Resolves when the card is there. */
export async function newCluster(page: Page, panel: Locator, options: INewCluster): Promise<Locator> {
  await panel.getByRole('button', { name: 'New cluster', exact: true }).click();
  const form = dialog(page, 'New cluster');
  await form.getByLabel('Name').fill(options.name);
  if (options.workers !== undefined) {
    await form.getByLabel('Number of workers').fill(String(options.workers));
  }
  await form.getByRole('button', { name: 'Create' }).click();
  await expect(form).toBeHidden();
  return card(panel, options.name);
}

export async function running(cluster: Locator): Promise<void> {
  await expect(cluster).toHaveAttribute('data-phase', 'running', { timeout: 60_000 });
}

/** Open a notebook and wait until its kernel is idle. */
export async function openNotebook(page: Page, path: string): Promise<Locator> {
  await execute(page, 'docmanager:open', { path });
  const notebook = page.locator('.jp-NotebookPanel:not(.lm-mod-hidden)');
  await notebook.waitFor();
  await page.waitForFunction(
    name => {
      const panel = (window as unknown as { jupyterapp: any }).jupyterapp.shell.currentWidget;
      return panel?.context?.path === name && panel.sessionContext.kernelDisplayStatus === 'idle';
    },
    path,
    { timeout: 90_000 }
  );
  return notebook;
}

export async function newNotebook(page: Page, kernel = 'python3'): Promise<Locator> {
  const path = await page.evaluate(async name => {
    const app = (window as unknown as { jupyterapp: any }).jupyterapp;
    const model = await app.commands.execute('docmanager:new-untitled', { type: 'notebook' });
    await app.commands.execute('docmanager:open', { path: model.path, kernel: { name } });
    return model.path as string;
  }, kernel);
  return openNotebook(page, path);
}

/** Put code into a new last cell and run it; resolves to its text output. */
export async function runCell(page: Page, notebook: Locator, code: string): Promise<string> {
  const output = await page.evaluate(async source => {
    const app = (window as unknown as { jupyterapp: any }).jupyterapp;
    const panel = app.shell.currentWidget;
    const future = panel.sessionContext.session.kernel.requestExecute({ code: source });
    const parts: string[] = [];
    future.onIOPub = (message: any) => {
      const content = message.content;
      parts.push(content.text ?? content.data?.['text/plain'] ?? (content.traceback ?? []).join('\n'));
    };
    await future.done;
    return parts.filter(Boolean).join('');
  }, code);
  return output;
}

/** Run all cells and wait until each has its number. */
export async function runAllCells(page: Page, notebook: Locator): Promise<void> {
  const prompts = notebook.locator('.jp-CodeCell .jp-InputArea-prompt');
  await execute(page, 'notebook:run-all-cells');
  await expect
    .poll(async () => (await prompts.allTextContents()).filter(text => !/\[\d+\]/.test(text)), { timeout: 150_000 })
    .toEqual([]);
}

/** The iframe of a dashboard pane. */
export function plotFrame(page: Page, title: string): FrameLocator {
  return page.frameLocator(`iframe[title="${title}"]`);
}

/** Wait until Bokeh has drawn into the frame. */
export async function drawn(frame: FrameLocator): Promise<void> {
  await expect(frame.locator('canvas').first()).toBeVisible({ timeout: 60_000 });
}
