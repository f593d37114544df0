import { fireEvent, screen } from '@testing-library/react';
import { Widget } from '@lumino/widgets';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { trans } from '../../../cells/__tests__/fakes';
import { PlotChooser } from '../chooser';
import { groupPlots } from '../plots';

const paths = ['individual-task-stream', 'individual-progress', 'individual-profile-server'];

let chooser: PlotChooser;

afterEach(() => chooser.dispose());

async function open(): Promise<void> {
  chooser = new PlotChooser(
    groupPlots(
      paths.map(path => ({ title: path, path: `/${path}` })),
      trans
    ),
    trans
  );
  Widget.attach(chooser, document.body);
  await vi.waitFor(() => screen.getByLabelText('Progress'));
}

describe('choosing plots', () => {
  it('gives the checked ones in the order of the list, also those that a filter hides', async () => {
    await open();
    fireEvent.click(screen.getByLabelText('Profile Server'));
    fireEvent.click(screen.getByLabelText('Task Stream'));
    fireEvent.click(screen.getByLabelText('Progress'));
    fireEvent.click(screen.getByLabelText('Progress'));
    fireEvent.change(screen.getByRole('searchbox'), { target: { value: 'prof ser' } });
    expect(screen.queryByRole('checkbox', { name: 'Task Stream' })).toBeNull();
    expect(screen.getByRole('checkbox', { name: 'Profile Server' })).toBeTruthy();
    expect(chooser.getValue()).toEqual(['individual-task-stream', 'individual-profile-server']);
  });

  it('gives the only one that the filter leaves where none is checked', async () => {
    await open();
    expect(chooser.getValue()).toEqual([]);
    fireEvent.change(screen.getByRole('searchbox'), { target: { value: 'pro' } });
    expect(chooser.getValue()).toEqual([]);
    fireEvent.change(screen.getByRole('searchbox'), { target: { value: 'progr' } });
    expect(chooser.getValue()).toEqual(['individual-progress']);
  });

  it('says when no plot is called so', async () => {
    await open();
    fireEvent.change(screen.getByRole('searchbox'), { target: { value: 'zzz' } });
    expect(screen.getByRole('status').textContent).toContain('No plot');
  });
});
