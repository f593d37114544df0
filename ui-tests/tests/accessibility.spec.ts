/** Every view without accessibility violations, in both themes, with pictures to look at. */
import { image } from '../support/images.js';
import { card, dialog, newCluster, running } from '../support/offload.js';
import { execute, expect, expectAccessible, setTheme, test } from '../support/test.js';

for (const theme of ['JupyterLab Light', 'JupyterLab Dark'] as const) {
  const tag = theme.endsWith('Dark') ? 'dark' : 'light';

  test(`all views are accessible, ${tag}`, async ({ page, panel, lab }) => {
    await setTheme(page, theme);
    await expectAccessible(page, '.jp-Offload-panel');
    await page.screenshot({ path: image(`empty-${tag}.png`) });

    const name = `axe-${tag}`;
    await newCluster(page, panel, { name, workers: 1 });
    const cluster = card(panel, name);
    await running(cluster);
    await expectAccessible(page, '.jp-Offload-panel');

    await panel.getByRole('button', { name: 'New cluster', exact: true }).click();
    await expect(dialog(page, 'New cluster')).toBeVisible();
    await dialog(page, 'New cluster').getByText('What will be submitted').click();
    await page.waitForTimeout(1000);
    await expectAccessible(page, '.jp-Dialog');
    await page.screenshot({ path: image(`new-cluster-${tag}.png`) });
    await page.keyboard.press('Escape');

    await cluster.getByRole('button', { name: /^Scale/ }).click();
    await expectAccessible(page, '.jp-Dialog');
    await page.keyboard.press('Escape');

    await cluster.getByRole('button', { name: /^Logs/ }).click();
    await expect(page.getByRole('log')).toBeVisible();
    await expectAccessible(page, '.jp-Offload-logs');
    await execute(page, 'offload:open-timeline', { id: name });
    await expectAccessible(page, '.jp-Offload-timelineView');
    await execute(page, 'offload:open-dashboard', { id: name, plot: 'individual-workers-memory' });
    await expect(page.locator('iframe[title*="of the cluster"]')).toBeVisible();
    await expectAccessible(page, '.jp-Offload-dashboard');
    await page.screenshot({ path: image(`running-${tag}.png`) });

    await lab.api('DELETE', `/clusters/${name}`);
    await expect(cluster).toHaveAttribute('data-phase', 'stopped', { timeout: 30_000 });
    await expectAccessible(page, '.jp-Offload-panel');
    await page.screenshot({ path: image(`stopped-${tag}.png`) });
    await lab.api('DELETE', `/clusters/${name}`);
  });
}
