import { useEffect, useState } from 'react';
import { phaseWord, splitMessage } from '../../models/words';
import type { IClusterModel } from '../../tokens';
import { useTrans } from '../shared/context';

/** Says changes of phase to screen readers; sighted people see them on the card. */
export function Announcer({ model }: { model: IClusterModel }): JSX.Element {
  const trans = useTrans();
  const [text, setText] = useState('');
  useEffect(() => {
    const slot = (_: IClusterModel, change: IClusterModel.IClusterChange) => {
      const { now, old } = change;
      if (now && model.isReady && now.phase !== old?.phase) {
        const said = trans.__('Cluster %1 is %2.', now.name, phaseWord(now.phase, trans));
        setText(
          now.phase === 'failed' ? `${said} ${splitMessage(now.reason.message).head}` : said
        );
      }
    };
    model.clusterChanged.connect(slot);
    return () => {
      model.clusterChanged.disconnect(slot);
    };
  }, [model, trans]);
  return (
    <div className="jp-Offload-announcer" role="status" aria-live="polite">
      {text}
    </div>
  );
}
