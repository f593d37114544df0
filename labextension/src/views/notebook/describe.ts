import type { TranslationBundle } from '@jupyterlab/translation';
import type { Cluster } from '../../api/types';
import type { AttachmentState } from '../../cells/attachment';

/** How the button of a notebook looks: words, and whether something is under way or wrong. */
export interface IDescription {
  label: string;
  /** One or more lines: what the label cannot say. */
  tooltip: string;
  tone: 'none' | 'busy' | 'good' | 'warning' | 'error';
}

function lines(...parts: (string | null | undefined)[]): string {
  return parts.filter(part => part).join('\n');
}

/** Say where the attachment of a notebook stands; `cluster` is the one it names, if it is in the list. */
export function describe(
  state: AttachmentState,
  cluster: Cluster | undefined,
  trans: TranslationBundle
): IDescription {
  switch (state.kind) {
    case 'detached':
      return {
        label: trans.__('No cluster'),
        tooltip: trans.__('Attach this notebook to a Dask cluster'),
        tone: 'none'
      };
    case 'waiting':
      return {
        label: trans.__('%1, waiting', state.name),
        tooltip: lines(trans.__('Attached as soon as possible.'), state.message),
        tone: 'busy'
      };
    case 'remembered':
      return {
        label: trans.__('%1, not attached', state.name),
        tooltip: trans.__('This notebook belongs to %1. Attach it by the menu.', state.name),
        tone: 'none'
      };
    case 'attaching':
      return {
        label: trans.__('%1, attaching', state.name),
        tooltip: trans.__(
          'Connecting the kernel to %1 as soon as the kernel is free.',
          state.name
        ),
        tone: 'busy'
      };
    case 'attached': {
      const count = cluster?.workers.connected ?? 0;
      const workers = trans._n('%1 worker', '%1 workers', count);
      return {
        label: `${state.name}, ${workers}`,
        tooltip: lines(
          trans.__('The variable client of this notebook is connected to %1.', state.name),
          ...state.warnings
        ),
        tone: state.warnings.length > 0 ? 'warning' : 'good'
      };
    }
    case 'failed':
      return {
        label: trans.__('%1, not attached', state.name),
        tooltip: lines(trans.__('Attaching failed.'), state.message, state.hint),
        tone: 'error'
      };
    case 'ended':
      return {
        label: trans.__('%1, ended', state.name),
        tooltip: lines(state.message, state.hint),
        tone: 'warning'
      };
  }
}
