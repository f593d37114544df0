import type { NotebookPanel } from '@jupyterlab/notebook';
import type { Kernel } from '@jupyterlab/services';
import {
  Attachment,
  type IAttachable,
  type IAttachmentOptions,
  type IRemembered
} from './attachment';
import { kernelLanguage, runSilently } from './kernel';

/** Key of the notebook's metadata. */
const METADATA = 'offload';

/** Which cluster a notebook remembers; null for none. */
export function readMemory(panel: NotebookPanel): IRemembered | null {
  const value = panel.context.model?.sharedModel.getMetadata()[METADATA];
  if (value && typeof value === 'object') {
    const { cluster, id } = value as Partial<IRemembered>;
    if (typeof cluster === 'string' && typeof id === 'string') {
      return { cluster, id };
    }
  }
  return null;
}

function attachable(panel: NotebookPanel): IAttachable {
  const context = panel.sessionContext;
  return {
    kernel: () => {
      const kernel = context.session?.kernel;
      return kernel
        ? {
            name: kernel.name,
            language: kernelLanguage(context),
            run: code => runSilently(kernel, code)
          }
        : null;
    },
    remembered: () => readMemory(panel),
    remember: value => {
      const { sharedModel } = panel.context.model;
      if (value) {
        sharedModel.setMetadata(METADATA, { ...value });
      } else if (METADATA in sharedModel.getMetadata()) {
        sharedModel.deleteMetadata(METADATA);
      }
    }
  };
}

/** Follow a notebook from its opening to its closing: metadata, kernel restarts and exchanges. */
export async function followNotebook(
  panel: NotebookPanel,
  options: Omit<IAttachmentOptions, 'notebook'>
): Promise<Attachment | null> {
  await panel.context.ready;
  if (panel.isDisposed) {
    return null;
  }
  const attachment = new Attachment({ ...options, notebook: attachable(panel) });
  const onMetadata = () => attachment.update();
  const onKernel = () => attachment.kernelReplaced();
  const onStatus = (_: unknown, status: Kernel.Status) => {
    if (status === 'restarting' || status === 'autorestarting') {
      // Not at once: Lab drops what is queued for the kernel right after this signal.
      queueMicrotask(onKernel);
    }
  };
  const { sharedModel } = panel.context.model;
  sharedModel.metadataChanged.connect(onMetadata);
  panel.sessionContext.kernelChanged.connect(onKernel);
  panel.sessionContext.statusChanged.connect(onStatus);
  panel.disposed.connect(() => {
    sharedModel.metadataChanged.disconnect(onMetadata);
    panel.sessionContext.kernelChanged.disconnect(onKernel);
    panel.sessionContext.statusChanged.disconnect(onStatus);
    attachment.dispose();
  });
  return attachment;
}
