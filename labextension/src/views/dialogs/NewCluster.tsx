import { HTMLSelect } from '@jupyterlab/ui-components';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { Cluster } from '../../api/types';
import { formatDuration } from '../../models/quantities';
import { durationWords, IDLE_CHOICES_S, LIFETIME_CHOICES_S } from '../../models/form';
import type { NewClusterState } from '../../models/newCluster';
import { useTrans } from '../shared/context';
import { useSignal } from '../shared/hooks';
import { EnvironmentField } from './EnvironmentField';
import { Field, TextInput } from './Field';
import { showForm } from './FormDialog';
import { ImageField, ProfileField } from './ProfileField';
import { SiteCards } from './SiteCards';
import { WorkersFields } from './WorkersFields';

interface INewClusterProps {
  state: NewClusterState;
  /** Kernelspec of the current notebook. */
  kernel: string | null;
}

/** Ask for a new cluster; null when closed without one. */
export async function showNewCluster(
  state: NewClusterState,
  kernel: string | null,
  trans: TranslationBundle
): Promise<Cluster | null> {
  const cluster = await showForm({
    title: trans.__('New cluster'),
    state,
    body: <NewCluster state={state} kernel={kernel} />,
    acceptLabel: trans.__('Create'),
    focusSelector: 'input[data-field="name"]',
    trans,
    className: 'jp-Offload-newDialog'
  });
  state.dispose();
  return cluster;
}

/** One screen: name, where, which worker, how many, environment, until when; then what will be submitted. */
export function NewCluster({ state, kernel }: INewClusterProps): JSX.Element {
  const trans = useTrans();
  useSignal(state.changed);
  const { form, messages, profile } = state;
  return (
    <div className="jp-Offload-form">
      <div className="jp-Offload-fields">
        <Field label={trans.__('Name')} message={messages.name}>
          {tie => (
            <TextInput
              {...tie}
              data-field="name"
              maxLength={40}
              value={form.name}
              onText={name => state.set({ name })}
            />
          )}
        </Field>
      </div>
      <SiteCards
        sites={state.sites}
        isKnown={state.areSitesKnown}
        chosen={form.site}
        message={messages.site}
        onChoose={name => state.setSite(name)}
      />
      <div className="jp-Offload-fields">
        <WorkerFields state={state} />
        <span className="jp-Offload-label" aria-hidden="true">
          {trans.__('Workers')}
        </span>
        <WorkersFields
          form={form}
          messages={messages}
          limit={profile?.maximum_workers ?? 1}
          onChange={patch => state.set(patch)}
        />
        <ImageField state={state} />
        <EnvironmentField
          environments={state.environments}
          chosen={form.environment}
          kernel={kernel}
          message={messages.environment}
          onChoose={environment => state.set({ environment })}
        />
        <UntilFields state={state} />
      </div>
      <AttachField state={state} />
      <Advanced state={state} />
      <Submitted state={state} />
    </div>
  );
}

/** Worker size: a profile of the site, or an own size within its limits. */
function WorkerFields({ state }: { state: NewClusterState }): JSX.Element {
  const trans = useTrans();
  const { form, messages, profile } = state;
  return (
    <>
      <ProfileField state={state} />
      {form.hasOwnSize && (
        <>
          <Field
            label={trans.__('Cores')}
            message={messages.cores}
            note={
              profile &&
              trans.__('(one worker may have %1)', profile.maximum_cores ?? profile.cores)
            }
          >
            {tie => (
              <TextInput
                {...tie}
                type="number"
                inputMode="numeric"
                min={1}
                className="jp-Offload-count"
                value={form.cores}
                onText={cores => state.set({ cores })}
              />
            )}
          </Field>
          <Field
            label={trans.__('Memory')}
            message={messages.memory_bytes}
            note={trans.__('for example 4 GiB')}
          >
            {tie => (
              <TextInput
                {...tie}
                className="jp-Offload-amount"
                value={form.memory}
                onText={memory => state.set({ memory })}
              />
            )}
          </Field>
        </>
      )}
    </>
  );
}

/** When the cluster ends by itself. */
function UntilFields({ state }: { state: NewClusterState }): JSX.Element {
  const trans = useTrans();
  const { form, messages, profile } = state;
  const most = profile?.maximum_lifetime_s ?? null;
  const never = trans.__('never');
  const noEnd = trans.__('no end');
  const asSite = (seconds: number | null | undefined, zero: string) =>
    trans.__('as the site says (%1)', durationWords(seconds ?? 0, zero, trans));
  return (
    <>
      <Field label={trans.__('Ends when idle for')} message={messages.idle_timeout_s}>
        {tie => (
          <HTMLSelect
            {...tie}
            value={form.idleTimeout}
            onChange={event => state.set({ idleTimeout: event.target.value })}
          >
            <option value="">{asSite(profile?.idle_timeout_s, never)}</option>
            {choices(IDLE_CHOICES_S, form.idleTimeout).map(it => (
              <option key={it} value={String(it)}>
                {durationWords(it, never, trans)}
              </option>
            ))}
          </HTMLSelect>
        )}
      </Field>
      <Field label={trans.__('And at the latest')} message={messages.lifetime_s}>
        {tie => (
          <HTMLSelect
            {...tie}
            value={form.lifetime}
            onChange={event => state.set({ lifetime: event.target.value })}
          >
            <option value="">{asSite(profile?.lifetime_s, noEnd)}</option>
            {choices(LIFETIME_CHOICES_S, form.lifetime).map(it => {
              const isTooLong = most !== null && (it === 0 || it > most);
              const words =
                it === 0 ? noEnd : trans.__('after %1', durationWords(it, noEnd, trans));
              return (
                <option key={it} value={String(it)} disabled={isTooLong}>
                  {isTooLong
                    ? trans.__('%1 (at most %2 here)', words, formatDuration(most, trans))
                    : words}
                </option>
              );
            })}
          </HTMLSelect>
        )}
      </Field>
    </>
  );
}

/** Whether the current notebook is attached as soon as the cluster can be connected to. */
function AttachField({ state }: { state: NewClusterState }): JSX.Element | null {
  const trans = useTrans();
  const { attach } = state;
  return (
    attach && (
      <label className="jp-Offload-check">
        <input
          type="checkbox"
          checked={attach.isOn}
          onChange={event => state.setAttach(event.target.checked)}
        />
        {trans.__('Attach %1', attach.title)}
      </label>
    )
  );
}

/** The usual choices, and the present one where it is none of them. */
function choices(usual: readonly number[], present: string): number[] {
  const value = present === '' ? null : Number(present);
  return value === null || usual.includes(value) ? [...usual] : [value, ...usual];
}

function Advanced({ state }: { state: NewClusterState }): JSX.Element {
  const trans = useTrans();
  const { form, messages } = state;
  const isUsed = Boolean(form.env || form.modules);
  return (
    <details className="jp-Offload-more" open={isUsed || undefined}>
      <summary>{trans.__('Advanced')}</summary>
      <div className="jp-Offload-fields">
        <Field
          label={trans.__('Environment variables')}
          message={messages.env}
          note={trans.__(
            'one NAME=value a line; for scheduler and workers; no secrets, please'
          )}
        >
          {tie => (
            <textarea
              {...tie}
              className="jp-mod-styled"
              rows={2}
              spellCheck={false}
              value={form.env}
              onChange={event => state.set({ env: event.target.value })}
            />
          )}
        </Field>
        <Field
          label={trans.__('Extra modules')}
          message={messages.modules}
          note={trans.__(
            'one a line, for example mypackage.corrections; imported at the start'
          )}
        >
          {tie => (
            <textarea
              {...tie}
              className="jp-mod-styled"
              rows={2}
              spellCheck={false}
              value={form.modules}
              onChange={event => state.set({ modules: event.target.value })}
            />
          )}
        </Field>
      </div>
    </details>
  );
}

/** What will be submitted, read-only, and what to know before. */
function Submitted({ state }: { state: NewClusterState }): JSX.Element {
  const trans = useTrans();
  const { preview } = state;
  const text = preview?.text ?? trans.__('Complete the form to see it.');
  return (
    <>
      {preview?.warnings.map(it => (
        <p key={it} className="jp-Offload-warning">
          {it}
        </p>
      ))}
      <details className="jp-Offload-more">
        <summary>{trans.__('What will be submitted')}</summary>
        <pre
          className="jp-Offload-preview"
          tabIndex={0}
          role="region"
          aria-label={trans.__('What will be submitted')}
        >
          {text}
        </pre>
      </details>
    </>
  );
}
