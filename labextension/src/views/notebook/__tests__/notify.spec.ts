import { Notification } from '@jupyterlab/apputils';
import { Signal } from '@lumino/signaling';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { AttachmentState } from '../../../cells/attachment';
import { cluster, trans } from '../../../cells/__tests__/fakes';
import { describe as say } from '../describe';
import { notifyOf } from '../notify';

const zmumu = { id: 'zmumu', name: 'zmumu' };

class Fake {
  state: AttachmentState = { kind: 'detached' };
  readonly changed = new Signal<never, AttachmentState>(this as never);

  go(state: AttachmentState): void {
    const old = this.state;
    this.state = state;
    this.changed.emit(old);
  }
}

const actions = {
  retry: vi.fn(),
  explain: vi.fn(),
  startAgain: vi.fn(),
  chooseAnother: vi.fn()
};

let attachment: Fake;

const ended: AttachmentState = { kind: 'ended', ...zmumu, message: 'It was idle.', hint: null };
const messages = () => Notification.manager.notifications.map(it => it.message);
const press = (label: string) =>
  Notification.manager.notifications[0].options.actions
    ?.find(it => it.label === label)
    ?.callback(new MouseEvent('click'));

function watch(): void {
  notifyOf(attachment as never, () => 'A.ipynb', actions, trans);
}

beforeEach(() => {
  attachment = new Fake();
});

afterEach(() => {
  Notification.dismiss();
  vi.clearAllMocks();
});

describe('notifications of an attachment', () => {
  it('say that the cluster of a notebook had ended when it was opened, and offer the ways on', () => {
    attachment.state = ended;
    watch();
    expect(messages()).toEqual(['The cluster zmumu of A.ipynb has ended.']);
    press('Start Again');
    expect(actions.startAgain).toHaveBeenCalledWith('zmumu');
    press('Another…');
    expect(actions.chooseAnother).toHaveBeenCalled();
  });

  it('do not repeat what the cluster itself says when it ends under an attached notebook', () => {
    watch();
    attachment.go({ kind: 'attached', ...zmumu, warnings: [] });
    attachment.go(ended);
    expect(messages()).toEqual([]);
  });

  it('offer to try again after a failure', () => {
    watch();
    attachment.go({ kind: 'failed', ...zmumu, message: 'OSError: Timed out', hint: null });
    expect(messages()).toEqual(['A.ipynb could not be attached to zmumu.']);
    press('Try Again');
    expect(actions.retry).toHaveBeenCalled();
  });

  it('warn of versions that differ once, not after each restart of the kernel', () => {
    const warnings = ['The kernel has Python 3.11, the cluster Python 3.12.'];
    watch();
    attachment.go({ kind: 'attached', ...zmumu, warnings });
    attachment.go({ kind: 'attaching', ...zmumu });
    attachment.go({ kind: 'attached', ...zmumu, warnings });
    expect(messages()).toEqual(warnings);
  });
});

describe('the words of the button', () => {
  it.each<[AttachmentState, string, string]>([
    [{ kind: 'detached' }, 'No cluster', 'none'],
    [{ kind: 'waiting', ...zmumu, message: 'Starting.' }, 'zmumu, waiting', 'busy'],
    [{ kind: 'attaching', ...zmumu }, 'zmumu, attaching', 'busy'],
    [{ kind: 'attached', ...zmumu, warnings: [] }, 'zmumu, 2 workers', 'good'],
    [{ kind: 'attached', ...zmumu, warnings: ['!'] }, 'zmumu, 2 workers', 'warning'],
    [{ kind: 'remembered', ...zmumu }, 'zmumu, not attached', 'none'],
    [
      { kind: 'failed', ...zmumu, message: 'No.', hint: 'Yes.' },
      'zmumu, not attached',
      'error'
    ],
    [ended, 'zmumu, ended', 'warning']
  ])('for %j', (state, label, tone) => {
    const words = say(state, cluster('zmumu'), trans);
    expect([words.label, words.tone]).toEqual([label, tone]);
    if ('message' in state) {
      expect(words.tooltip).toContain(state.message);
    }
  });

  it('count one worker as one', () => {
    const one = cluster('zmumu', 'running', {
      workers: { requested: 2, starting: 1, connected: 1 }
    });
    expect(say({ kind: 'attached', ...zmumu, warnings: [] }, one, trans).label).toBe(
      'zmumu, 1 worker'
    );
  });
});
