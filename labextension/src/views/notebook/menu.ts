import { MenuSvg } from '@jupyterlab/ui-components';
import type { CommandRegistry } from '@lumino/commands';
import type { AttachmentState } from '../../cells/attachment';
import { CommandIDs, type Cluster } from '../../tokens';
import { canAttach } from '../../cells/attachment';

/** Open the menu of the notebook's button below it; the focus goes back there when it closes. */
export function openAttachmentMenu(
  commands: CommandRegistry,
  anchor: HTMLElement,
  state: AttachmentState,
  clusters: readonly Cluster[]
): void {
  const menu = new MenuSvg({ commands });
  menu.addClass('jp-Offload-attachmentMenu');
  const add = (command: string, args: Record<string, string> = {}) =>
    menu.addItem({ command, args });

  for (const cluster of clusters.filter(canAttach)) {
    add(CommandIDs.attachNotebook, { id: cluster.id });
  }
  menu.addItem({ type: 'separator' });
  add(CommandIDs.attachNewCluster);
  if (state.kind !== 'detached') {
    const { id } = state;
    if (state.kind === 'failed' || state.kind === 'remembered') {
      add(CommandIDs.retryAttachment);
    }
    if (state.kind === 'ended') {
      add(CommandIDs.attachNewCluster, { again: id });
    }
    add(CommandIDs.explainAttachment);
    menu.addItem({ type: 'separator' });
    if (state.kind !== 'ended') {
      add(CommandIDs.insertClient, { id });
      add(CommandIDs.openDashboard, { id });
    }
    add(CommandIDs.detachNotebook);
  }

  menu.aboutToClose.connect(() => {
    anchor.focus();
    // The chosen command runs after the menu closed.
    setTimeout(() => menu.dispose(), 0);
  });
  const { left, bottom } = anchor.getBoundingClientRect();
  menu.open(left, bottom);
}
