import type { TranslationBundle } from '@jupyterlab/translation';
import { Button, UseSignal } from '@jupyterlab/ui-components';
import { useEffect, useState } from 'react';
import { splitMessage } from '../../models/words';
import type { Cluster, DashboardPlot } from '../../tokens';
import type { PaneModel, PaneState } from './model';

/** What a pane asks of its surroundings. */
export interface IPaneActions {
  close: () => void;
  /** Select the cluster's card in the panel. */
  showCluster: (id: string) => void;
  showLogs: (id: string) => void;
  startAgain: (id: string) => void;
  /** Open this plot of the same cluster beside the pane. */
  openBeside: (id: string, plot: string) => void;
  /** Plots that the cluster's dashboard has. */
  plots: (id: string) => Promise<DashboardPlot[]>;
}

interface IProps {
  model: PaneModel;
  trans: TranslationBundle;
  actions: IPaneActions;
}

/** The plot itself, or why it cannot be seen and what to do. */
export function PaneBody(props: IProps): JSX.Element {
  return (
    <UseSignal signal={props.model.changed}>
      {() => <StateView {...props} state={props.model.state} />}
    </UseSignal>
  );
}

function StateView({ state, ...props }: IProps & { state: PaneState }): JSX.Element {
  const { model, trans, actions } = props;
  switch (state.kind) {
    case 'looking':
      return <Notice heading={trans.__('Looking for the cluster')} busy />;
    case 'waiting':
    case 'opening':
      return (
        <Notice heading={waitingFor(state.cluster, trans)} busy>
          <p>{splitMessage(state.cluster.reason.message).head}</p>
          {state.cluster.reason.hint && <p>{state.cluster.reason.hint}</p>}
        </Notice>
      );
    case 'showing':
      return (
        <Frame
          key={state.src}
          src={state.src}
          title={trans.__('%1 of the cluster %2', model.plotTitle, state.cluster.name)}
          loading={trans.__('Loading %1', model.plotTitle)}
        />
      );
    case 'unreachable':
      return (
        <Notice
          heading={trans.__('The dashboard of %1 cannot be reached', state.cluster.name)}
          alert
        >
          <p>{state.problem.message}</p>
          {state.problem.hint && <p>{state.problem.hint}</p>}
          <p>{trans.__('It is tried again by itself.')}</p>
          <Button onClick={() => model.retry()}>{trans.__('Try again now')}</Button>
        </Notice>
      );
    case 'ended':
      return <Ended {...props} cluster={state.cluster} />;
    case 'gone':
      return (
        <Notice heading={trans.__('This cluster is no longer in the list')}>
          <p>{trans.__('It was removed after it ended, so there is nothing to show here.')}</p>
          <Button onClick={actions.close}>{trans.__('Close pane')}</Button>
        </Notice>
      );
  }
}

function waitingFor(cluster: Cluster, trans: TranslationBundle): string {
  return cluster.phase === 'running'
    ? trans.__('Opening the dashboard of %1', cluster.name)
    : trans.__('%1 is %2', cluster.name, cluster.phase);
}

function Ended({ cluster, actions, trans }: IProps & { cluster: Cluster }): JSX.Element {
  const heading =
    cluster.phase === 'failed'
      ? trans.__('%1 failed', cluster.name)
      : trans.__('%1 has stopped', cluster.name);
  return (
    <Notice heading={heading}>
      <p>{splitMessage(cluster.reason.message).head}</p>
      {cluster.reason.hint && <p>{cluster.reason.hint}</p>}
      <div className="jp-Offload-noticeActions">
        <Button onClick={() => actions.startAgain(cluster.id)}>
          {trans.__('Start again')}
        </Button>
        <Button onClick={() => actions.showLogs(cluster.id)}>{trans.__('Logs')}</Button>
        <Button onClick={actions.close}>{trans.__('Close pane')}</Button>
      </div>
    </Notice>
  );
}

interface INoticeProps {
  heading: string;
  busy?: boolean;
  alert?: boolean;
  children?: React.ReactNode;
}

function Notice({ heading, busy, alert, children }: INoticeProps): JSX.Element {
  return (
    <div className="jp-Offload-notice" role={alert ? 'alert' : 'status'} aria-busy={busy}>
      <h2>{heading}</h2>
      {children}
    </div>
  );
}

interface IFrameProps {
  src: string;
  title: string;
  loading: string;
}

/**
 * The page of the scheduler. Without `allow-same-origin` it has an origin of its own: its scripts see neither Jupyter's
 * cookies nor its API. Dask draws for white paper in every theme, so the frame is a white card.
 */
function Frame({ src, title, loading }: IFrameProps): JSX.Element {
  const [isLoaded, setLoaded] = useState(false);
  const [isDragging, setDragging] = useState(false);
  useEffect(() => {
    // A frame swallows the pointer, which makes panes beside it impossible to resize or to drop on.
    const start = () => setDragging(true);
    const end = () => setDragging(false);
    document.addEventListener('pointerdown', start);
    document.addEventListener('pointerup', end);
    return () => {
      document.removeEventListener('pointerdown', start);
      document.removeEventListener('pointerup', end);
    };
  }, []);
  return (
    <div className="jp-Offload-frame" data-dragging={isDragging || undefined}>
      {!isLoaded && <span className="jp-Offload-frameLoading">{loading}</span>}
      <iframe
        src={src}
        title={title}
        sandbox="allow-scripts"
        referrerPolicy="no-referrer"
        onLoad={() => setLoaded(true)}
      />
    </div>
  );
}
