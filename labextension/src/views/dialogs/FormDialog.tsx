import { Dialog } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import { ReactWidget } from '@jupyterlab/ui-components';
import type { FormState } from '../../models/formState';
import { TranslationContext, useTrans } from '../shared/context';
import { useSignal } from '../shared/hooks';

/** Lab's dialog for a form that the server may refuse: it stays open, with all that was typed, until it is accepted. */
class FormDialog<F extends object, R> extends Dialog<R> {
  constructor(
    options: Partial<Dialog.IOptions<R>>,
    private readonly _state: FormState<F, R>
  ) {
    super(options);
    this.addClass('jp-Offload-dialog');
    this._accepts = (options.buttons ?? []).map(it => it.accept);
  }

  /** What the server answered. */
  result: R | null = null;

  override resolve(index?: number): void {
    const chosen = index ?? this._accepts.length - 1;
    if (!this._accepts[chosen]) {
      super.resolve(chosen);
      return;
    }
    void this._state.submit().then(result => {
      if (result !== null) {
        this.result = result;
        super.resolve(chosen);
      } else {
        this.node.querySelector<HTMLElement>('[aria-invalid="true"]')?.focus();
      }
    });
  }

  override handleEvent(event: Event): void {
    // Lab's dialog takes Enter away from buttons in its body, and looks for mistakes before React has drawn them.
    const target = event.target as HTMLElement | null;
    const isInner =
      event instanceof KeyboardEvent &&
      event.key !== 'Escape' &&
      event.key !== 'Tab' &&
      target?.closest('.jp-Dialog-body summary, .jp-Dialog-body button');
    if (!isInner && event.type !== 'input') {
      super.handleEvent(event);
    }
  }

  private readonly _accepts: boolean[];
}

interface IFormDialogOptions<F extends object, R> {
  title: string;
  state: FormState<F, R>;
  body: JSX.Element;
  acceptLabel: string;
  /** Where the focus is at first. */
  focusSelector: string;
  trans: TranslationBundle;
  className?: string;
}

/** Show a form until the server accepted it (its answer) or it was closed (null). The focus returns to where it was. */
export async function showForm<F extends object, R>(
  options: IFormDialogOptions<F, R>
): Promise<R | null> {
  const { state, trans } = options;
  const body = ReactWidget.create(
    <TranslationContext.Provider value={trans}>
      {options.body}
      <FormProblem state={state} />
    </TranslationContext.Provider>
  );
  const dialog = new FormDialog<F, R>(
    {
      title: options.title,
      body: body as Dialog.IBodyWidget<R>,
      buttons: [
        Dialog.cancelButton({ label: trans.__('Cancel') }),
        Dialog.okButton({ label: options.acceptLabel })
      ],
      defaultButton: 1,
      focusNodeSelector: options.focusSelector,
      hasClose: true
    },
    state
  );
  dialog.node.setAttribute('aria-label', options.title);
  if (options.className) {
    dialog.addClass(options.className);
  }
  await dialog.launch();
  dialog.dispose();
  return dialog.result;
}

/** What the server said about the form as a whole, and that it is being asked. */
function FormProblem<F extends object, R>({ state }: { state: FormState<F, R> }): JSX.Element {
  const trans = useTrans();
  useSignal(state.changed);
  const { problem } = state;
  return (
    <div className="jp-Offload-formProblem" aria-live="assertive">
      {problem && (
        <>
          <p className="jp-Offload-fault">{problem.message}</p>
          {problem.hint && <p className="jp-Offload-dim">{problem.hint}</p>}
        </>
      )}
      {state.isBusy && <p className="jp-Offload-dim">{trans.__('Asking the server.')}</p>}
    </div>
  );
}
