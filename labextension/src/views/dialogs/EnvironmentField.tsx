import { HTMLSelect } from '@jupyterlab/ui-components';
import type { Environment } from '../../api/types';
import { versionWarnings } from '../../cells/environment';
import { useTrans } from '../shared/context';
import { Field } from './Field';

interface IEnvironmentFieldProps {
  environments: readonly Environment[] | null;
  /** Empty = the default one. */
  chosen: string;
  /** Kernelspec of the current notebook. */
  kernel: string | null;
  message?: string;
  onChoose(name: string): void;
}

/** What scheduler and workers run: marked when it equals the kernel's, greyed with the remedy when it has no Dask. */
export function EnvironmentField(props: IEnvironmentFieldProps): JSX.Element {
  const { environments, chosen, kernel, message, onChoose } = props;
  const trans = useTrans();
  const all = environments ?? [];
  const ofKernel = all.find(it => it.name === kernel);
  const standard = all.find(it => it.default);
  const current = all.find(it => (chosen ? it.name === chosen : it.default));
  const warnings = versionWarnings(ofKernel, current, trans);
  const unusable = all.filter(it => !it.usable);
  const words = (it: Environment): string => {
    const version = it.python_version ? ` · Python ${it.python_version}` : '';
    if (!it.usable) {
      return `${it.title}${version} — ${it.problem ?? trans.__('cannot be used')}`;
    }
    const isSame = ofKernel && versionWarnings(ofKernel, it, trans).length === 0;
    return `${it.title}${version}${isSame ? ` ${trans.__('(same versions as this kernel)')}` : ''}`;
  };
  return (
    <Field label={trans.__('Environment')} message={message}>
      {tie => (
        <>
          <HTMLSelect
            {...tie}
            value={current?.name ?? ''}
            onChange={event =>
              onChoose(event.target.value === standard?.name ? '' : event.target.value)
            }
          >
            {!current && (
              <option value="">
                {environments ? trans.__('the default of this host') : trans.__('looking…')}
              </option>
            )}
            {all.map(it => (
              <option key={it.name} value={it.name} disabled={!it.usable}>
                {words(it)}
              </option>
            ))}
          </HTMLSelect>
          {warnings.map(it => (
            <span key={it} className="jp-Offload-warning">
              {it} {trans.__('Functions and data may not survive the way between them.')}
            </span>
          ))}
          {unusable.length > 0 && (
            <details className="jp-Offload-unusable">
              <summary>
                {trans._n(
                  '%1 environment cannot be used',
                  '%1 environments cannot be used',
                  unusable.length
                )}
              </summary>
              <ul>
                {unusable.map(it => (
                  <li key={it.name}>
                    {it.title}: {it.problem} {it.hint && <code>{it.hint}</code>}
                  </li>
                ))}
              </ul>
            </details>
          )}
        </>
      )}
    </Field>
  );
}
