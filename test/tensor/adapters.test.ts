import { expect, it } from 'vitest';
import { adapterFlag, hardwareAdapters, listAdapters } from '../../src/tensor/adapters.ts';
import { Device } from '../../src/tensor/device.ts';
import { DeviceError } from '../../src/tensor/errors.ts';

it('chooses an adapter by its number or a part of its name', async () => {
  const names = await listAdapters();
  expect(names.length).toBeGreaterThan(0);
  expect(await adapterFlag('0')).toBe(`adapter=${names[0]}`);
  expect(await adapterFlag(names[0]!.slice(0, 6))).toBe(`adapter=${names[0]}`);
  expect((await hardwareAdapters()).every((name, i) => name === names[i])).toBe(true);
  const device = await Device.open({ adapter: '0' });
  expect(device.opened.name).not.toBe('');
  device.destroy();
});

it('refuses one that is not there', async () => {
  const names = await listAdapters();
  for (const wanted of [`${names.length}`, 'Voodoo 2']) {
    const opened = Device.open({ adapter: wanted });
    await expect(opened).rejects.toThrow(DeviceError);
    await expect(opened).rejects.toThrow(`there is no adapter "${wanted}"; this machine has 0 "${names[0]}"`);
  }
});
