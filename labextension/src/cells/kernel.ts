import type { ISessionContext } from '@jupyterlab/apputils';
import type { Kernel, KernelMessage } from '@jupyterlab/services';

/** A Python exception of a silent run, or why there was no run at all. */
export interface IRunError {
  name: string;
  message: string;
}

/** Run code in a kernel without a trace in the notebook: no output, no prompt number, nothing in the history. */
export async function runSilently(
  kernel: Kernel.IKernelConnection,
  code: string
): Promise<IRunError | null> {
  const future = kernel.requestExecute({
    code,
    silent: true,
    store_history: false,
    allow_stdin: false,
    // The user's own cells are queued behind this; they shall fail by themselves, not because of us.
    stop_on_error: false
  });
  const reply = (await future.done) as KernelMessage.IExecuteReplyMsg | undefined;
  if (reply?.content.status === 'ok') {
    return null;
  }
  if (reply?.content.status === 'error') {
    return { name: reply.content.ename, message: reply.content.evalue };
  }
  return { name: 'Aborted', message: '' };
}

/** Language of a notebook's kernel in lower case; null where it has no kernel or nobody knows. */
export function kernelLanguage(context: ISessionContext): string | null {
  const name = context.session?.kernel?.name;
  const spec = name ? context.specsManager.specs?.kernelspecs[name] : undefined;
  return spec?.language.toLowerCase() ?? null;
}
