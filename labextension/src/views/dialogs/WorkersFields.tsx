import { useId } from 'react';
import type { FieldMessages } from '../../models/form';
import { useTrans } from '../shared/context';
import { CountInput } from './Field';

interface IWorkers {
  isAdaptive: boolean;
  workers: string;
  minimum: string;
  maximum: string;
}

interface IWorkersFieldsProps {
  form: Readonly<IWorkers>;
  messages: FieldMessages;
  limit: number;
  onChange(patch: Partial<IWorkers>): void;
}

/** A number of workers, or a range to move in; with what one may have while typing. */
export function WorkersFields(props: IWorkersFieldsProps): JSX.Element {
  const { form, messages, limit, onChange } = props;
  const trans = useTrans();
  const id = useId();
  const message =
    messages.workers ??
    messages.adaptive ??
    messages['adaptive.minimum'] ??
    messages['adaptive.maximum'];
  const tie = (field: string) => ({
    'aria-invalid': messages[field] ? true : undefined,
    'aria-describedby': message ? `${id}-message` : `${id}-note`
  });
  return (
    <div className="jp-Offload-control" role="group" aria-label={trans.__('Workers')}>
      <div className="jp-Offload-inline">
        <CountInput
          aria-label={trans.__('Number of workers')}
          value={form.workers}
          disabled={form.isAdaptive}
          limit={limit}
          onText={workers => onChange({ workers })}
          {...tie('workers')}
        />
        <label className="jp-Offload-check">
          <input
            type="checkbox"
            checked={form.isAdaptive}
            onChange={event => onChange({ isAdaptive: event.target.checked })}
          />
          {trans.__('adapt between')}
        </label>
        <CountInput
          aria-label={trans.__('Fewest workers')}
          value={form.minimum}
          disabled={!form.isAdaptive}
          limit={limit}
          onText={minimum => onChange({ minimum })}
          {...tie('adaptive.minimum')}
        />
        <span>{trans.__('and')}</span>
        <CountInput
          aria-label={trans.__('Most workers')}
          value={form.maximum}
          disabled={!form.isAdaptive}
          limit={limit}
          minimum={1}
          onText={maximum => onChange({ maximum })}
          {...tie('adaptive.maximum')}
        />
        <span id={`${id}-note`} className="jp-Offload-dim">
          {trans.__('(you may have %1)', limit)}
        </span>
      </div>
      {message && (
        <span id={`${id}-message`} className="jp-Offload-message" role="alert">
          {message}
        </span>
      )}
    </div>
  );
}
