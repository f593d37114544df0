import { Notification } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { Attachment, AttachmentState } from '../../cells/attachment';

/** What a notification's buttons do. */
export interface IActions {
  retry: () => void;
  explain: () => void;
  startAgain: (id: string) => void;
  chooseAnother: () => void;
}

/** Say what the user did not ask for and needs to know: a failure, an end met on opening, versions that differ. */
export function notifyOf(
  attachment: Pick<Attachment, 'state' | 'changed'>,
  title: () => string,
  actions: IActions,
  trans: TranslationBundle
): void {
  let warned = '';
  const say = (old: AttachmentState): void => {
    const { state } = attachment;
    const explain = { label: trans.__('Details'), callback: actions.explain };
    if (state.kind === 'failed') {
      Notification.error(trans.__('%1 could not be attached to %2.', title(), state.name), {
        autoClose: false,
        actions: [{ label: trans.__('Try Again'), callback: actions.retry }, explain]
      });
    } else if (state.kind === 'ended' && old.kind !== 'attached' && old.kind !== 'ended') {
      Notification.warning(trans.__('The cluster %1 of %2 has ended.', state.name, title()), {
        autoClose: false,
        actions: [
          { label: trans.__('Start Again'), callback: () => actions.startAgain(state.id) },
          { label: trans.__('Another…'), callback: actions.chooseAnother },
          explain
        ]
      });
    } else if (state.kind === 'attached' && state.warnings.length > 0) {
      const text = state.warnings.join(' ');
      if (text !== warned) {
        warned = text;
        Notification.warning(text, {
          autoClose: false,
          actions: [{ label: trans.__('Details'), callback: actions.explain }]
        });
      }
    }
  };
  attachment.changed.connect((_, old) => say(old));
  // A notebook may have met the end of its cluster when it was opened, before anybody listened.
  say({ kind: 'detached' });
}
