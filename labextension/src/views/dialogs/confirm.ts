import { Dialog, showDialog } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { Cluster } from '../../api/types';

/** What would be lost, in one sentence each. */
export function stopWords(cluster: Cluster, trans: TranslationBundle): string {
  const { clients, tasks_waiting, busy_fraction, cores } = cluster.usage;
  const running = Math.round(busy_fraction * cores);
  const parts: string[] = [];
  if (clients > 0) {
    parts.push(
      trans._n(
        '%1 client is connected (a notebook or a script).',
        '%1 clients are connected (notebooks or scripts).',
        clients
      )
    );
  }
  if (running > 0 || tasks_waiting > 0) {
    parts.push(trans.__('About %1 tasks are running and %2 waiting.', running, tasks_waiting));
  }
  parts.push(
    parts.length > 0
      ? trans.__(
          'Results on its workers are lost. Logs and history stay until you forget the card.'
        )
      : trans.__('Nothing is running on it. Logs and history stay until you forget the card.')
  );
  return parts.join(' ');
}

async function confirm(
  title: string,
  body: string,
  label: string,
  trans: TranslationBundle
): Promise<boolean> {
  const result = await showDialog({
    title,
    body,
    buttons: [Dialog.cancelButton({ label: trans.__('Cancel') }), Dialog.warnButton({ label })],
    defaultButton: 1
  });
  return result.button.accept;
}

/** Ask before a cluster is shut down. */
export function confirmStop(cluster: Cluster, trans: TranslationBundle): Promise<boolean> {
  return confirm(
    trans.__('Shut down %1?', cluster.name),
    stopWords(cluster, trans),
    trans.__('Shut down'),
    trans
  );
}

/** Ask before card and logs of a finished cluster are removed. */
export function confirmForget(cluster: Cluster, trans: TranslationBundle): Promise<boolean> {
  return confirm(
    trans.__('Forget %1?', cluster.name),
    trans.__('Its card, history and logs are removed.'),
    trans.__('Forget'),
    trans
  );
}
