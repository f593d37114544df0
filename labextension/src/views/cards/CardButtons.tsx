import {
  addAboveIcon,
  closeIcon,
  codeIcon,
  deleteIcon,
  ellipsesIcon,
  listIcon,
  refreshIcon,
  spreadsheetIcon,
  stopIcon
} from '@jupyterlab/ui-components';
import type { Cluster } from '../../api/types';
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
    <IconButton
      icon={listIcon}
      label={trans.__('Logs')}
      of={name}
      onClick={() => actions.logs(id)}
    />
  );
  const menu = (
    <IconButton
      icon={ellipsesIcon}
      iconOnly
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
          icon={refreshIcon}
          label={trans.__('Start again…')}
          of={name}
          onClick={() => actions.startAgain(id)}
        />
        <span className="jp-Offload-space" />
        <IconButton
          icon={deleteIcon}
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
          iconOnly
          label={trans.__('Insert client cell')}
          of={name}
          title={trans.__('Put the client cell into the current notebook')}
          disabled={!cluster.connectable}
          onClick={() => actions.insertClient(id)}
        />
      )}
      {cluster.phase !== 'stopping' && (
        <IconButton
          icon={addAboveIcon}
          label={trans.__('Scale')}
          of={name}
          title={trans.__('Change the number of workers')}
          onClick={() => actions.scale(id)}
        />
      )}
      {!isWaiting && (
        <IconButton
          icon={spreadsheetIcon}
          label={trans.__('Dashboards')}
          of={name}
          title={trans.__('Open Dask dashboards as panes')}
          disabled={!cluster.dashboard}
          onClick={() => actions.dashboards(id)}
        />
      )}
      {logs}
      <span className="jp-Offload-space" />
      {cluster.phase !== 'stopping' && (
        <IconButton
          icon={isWaiting ? closeIcon : stopIcon}
          label={isWaiting ? trans.__('Cancel') : trans.__('Shut down')}
          of={name}
          tone="danger"
          onClick={() => actions.stop(id)}
        />
      )}
      {menu}
    </div>
  );
}
