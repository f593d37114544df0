import { codeIcon, ellipsesIcon, stopIcon } from '@jupyterlab/ui-components';
import type { Cluster } from '../../api/types';
import { dashboardsIcon } from '../../icons';
import { isFinished } from '../../models/store';
import { useTrans } from '../shared/context';
import { IconButton } from '../shared/IconButton';
import type { ICardActions } from './actions';

interface ICardButtonsProps {
  cluster: Cluster;
  actions: ICardActions;
}

/** The actions of a card: the ones of its phase, the rare ones in a menu. They stay on one line at any width. */
export function CardButtons({ cluster, actions }: ICardButtonsProps): JSX.Element {
  const trans = useTrans();
  const { id, name } = cluster;
  const isWaiting = cluster.phase === 'pending' || cluster.phase === 'starting';
  const logs = (
    <IconButton label={trans.__('Logs')} of={name} onClick={() => actions.logs(id)} />
  );
  const menu = (
    <IconButton
      icon={ellipsesIcon}
      textFrom="never"
      label={trans.__('More actions')}
      of={name}
      aria-haspopup="menu"
      onClick={event => actions.menu(id, event.currentTarget)}
    />
  );
  if (isFinished(cluster)) {
    return (
      <div className="jp-Offload-buttons">
        {logs}
        <IconButton
          label={trans.__('Start again…')}
          of={name}
          onClick={() => actions.startAgain(id)}
        />
        <span className="jp-Offload-space" />
        <IconButton
          label={trans.__('Forget')}
          of={name}
          title={trans.__('Remove this card and its logs')}
          onClick={() => actions.forget(id)}
        />
        {menu}
      </div>
    );
  }
  return (
    <div className="jp-Offload-buttons">
      {!isWaiting && (
        <IconButton
          icon={codeIcon}
          textFrom="never"
          label={trans.__('Insert client cell')}
          of={name}
          title={trans.__('Put the client cell into the current notebook')}
          disabled={!cluster.connectable}
          onClick={() => actions.insertClient(id)}
        />
      )}
      {cluster.phase !== 'stopping' && (
        <IconButton
          label={trans.__('Scale')}
          of={name}
          title={trans.__('Change the number of workers')}
          onClick={() => actions.scale(id)}
        />
      )}
      {!isWaiting && (
        <IconButton
          icon={dashboardsIcon}
          textFrom="medium"
          label={trans.__('Dashboards')}
          of={name}
          title={trans.__('Open Dask dashboards as panes')}
          disabled={!cluster.dashboard}
          onClick={() => actions.dashboards(id)}
        />
      )}
      {logs}
      <span className="jp-Offload-space" />
      {isWaiting && (
        <IconButton
          label={trans.__('Cancel')}
          of={name}
          tone="danger"
          onClick={() => actions.stop(id)}
        />
      )}
      {cluster.phase === 'running' && (
        <IconButton
          icon={stopIcon}
          textFrom="wide"
          label={trans.__('Shut down')}
          of={name}
          tone="danger"
          onClick={() => actions.stop(id)}
        />
      )}
      {menu}
    </div>
  );
}
