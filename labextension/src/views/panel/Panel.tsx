import { addIcon, refreshIcon } from '@jupyterlab/ui-components';
import { type ReactNode, useState } from 'react';
import { formatDuration } from '../../models/quantities';
import type { IClusterModel } from '../../tokens';
import type { ICardActions } from '../cards/actions';
import { Card } from '../cards/Card';
import { useTrans } from '../shared/context';
import { useNow, useSignal } from '../shared/hooks';
import { IconButton } from '../shared/IconButton';
import { SiteList } from '../sites/SiteList';
import type { TimelineReader } from '../timeline/Timeline';
import { Announcer } from './Announcer';

export interface IPanelProps {
  model: IClusterModel;
  actions: ICardActions;
  readTimeline: TimelineReader;
  onNew(site?: string): void;
  onRefresh(): void;
}

/** The left panel: clusters, then sites. */
export function Panel(props: IPanelProps): JSX.Element {
  const { model, onNew, onRefresh } = props;
  const trans = useTrans();
  useSignal(model.changed);
  return (
    <>
      <Announcer model={model} />
      <Section
        title={trans.__('Clusters')}
        tools={
          <>
            <IconButton
              icon={refreshIcon}
              textFrom="never"
              label={trans.__('Refresh clusters and sites')}
              onClick={onRefresh}
            />
            <IconButton
              icon={addIcon}
              label={trans.__('New')}
              aria-label={trans.__('New cluster')}
              title={trans.__('New cluster…')}
              tone="primary"
              className="jp-Offload-new"
              onClick={() => onNew()}
            />
          </>
        }
      >
        <Trouble model={model} />
        <Clusters {...props} />
      </Section>
      <Section title={trans.__('Sites')}>
        <Sites {...props} />
      </Section>
    </>
  );
}

interface ISectionProps {
  title: string;
  tools?: ReactNode;
  children: ReactNode;
}

function Section({ title, tools, children }: ISectionProps): JSX.Element {
  const [isOpen, setOpen] = useState(true);
  return (
    <section className="jp-Offload-section" aria-label={title}>
      <div className="jp-Offload-sectionHead">
        <h2>
          <button
            type="button"
            className="jp-Offload-fold"
            aria-expanded={isOpen}
            onClick={() => setOpen(!isOpen)}
          >
            {title}
          </button>
        </h2>
        <span className="jp-Offload-space" />
        {tools}
      </div>
      {isOpen && children}
    </section>
  );
}

/** Why the list may be old. What was seen last stays: "cannot see" is not "gone". */
function Trouble({ model }: { model: IClusterModel }): JSX.Element | null {
  const trans = useTrans();
  const now = useNow(10_000);
  const { error, heardAt } = model;
  if (!error) {
    return null;
  }
  const { message, hint } = error;
  return (
    <div className="jp-Offload-trouble" role="alert">
      <p className="jp-Offload-fault">{message}</p>
      <p className="jp-Offload-dim">
        {hint ? `${hint} ` : ''}
        {heardAt !== null &&
          trans.__(
            'Shown is what was heard %1 ago; clusters go on.',
            formatDuration((now.getTime() - heardAt) / 1000, trans)
          )}
      </p>
    </div>
  );
}

function Clusters({ model, actions, readTimeline, onNew }: IPanelProps): JSX.Element | null {
  const trans = useTrans();
  if (model.clusters.length > 0) {
    return (
      <ul className="jp-Offload-cards" aria-label={trans.__('Clusters')}>
        {model.clusters.map(cluster => (
          <Card
            key={cluster.id}
            cluster={cluster}
            isSelected={model.selected === cluster.id}
            actions={actions}
            readTimeline={readTimeline}
          />
        ))}
      </ul>
    );
  }
  if (!model.isReady) {
    return model.error ? null : <Asking />;
  }
  return (
    <div className="jp-Offload-empty">
      <p>
        {trans.__(
          'A cluster computes your notebook’s Dask tasks on as many workers as you ask for.'
        )}
      </p>
      <IconButton
        icon={addIcon}
        label={trans.__('New cluster…')}
        tone="primary"
        onClick={() => onNew()}
      />
    </div>
  );
}

function Asking(): JSX.Element {
  const trans = useTrans();
  return <p className="jp-Offload-empty jp-Offload-dim">{trans.__('Asking the server.')}</p>;
}

function Sites({ model, onNew, onRefresh }: IPanelProps): JSX.Element | null {
  const trans = useTrans();
  if (model.sites.length > 0) {
    return <SiteList sites={model.sites} onPick={onNew} />;
  }
  if (!model.areSitesKnown) {
    return model.error ? null : <Asking />;
  }
  return (
    <div className="jp-Offload-empty">
      <p>
        {trans.__(
          'A site is where workers run; an administrator declares one by a file in the folder offload/sites of Jupyter’s configuration.'
        )}
      </p>
      <IconButton icon={refreshIcon} label={trans.__('Look again')} onClick={onRefresh} />
    </div>
  );
}
