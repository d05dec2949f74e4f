// Channels: made, changed and deleted by mouse and by keyboard; the states on the way.

export async function channels({ open, step, until, equal, api }) {
  const page = await open('#/channels');
  const card = name => page.locator('li.card', { has: page.getByRole('heading', { name, exact: true }) });
  const find = async name => (await api('state')).channels.find(channel => channel.name === name);

  await step('a channel is made by mouse', async () => {
    await page.getByRole('button', { name: 'New channel' }).click();
    await page.getByLabel('Name').fill('lobby');
    await page.getByRole('button', { name: 'Create' }).click();
    await card('lobby').waitFor();
    equal((await find('lobby')).status, 'ACTIVE', 'its state');
  });

  await step('a channel is made by keyboard, and its states are shown', async () => {
    await api('states', { creatingMs: 86_400_000 });
    await page.getByRole('button', { name: 'New channel' }).focus();
    await page.keyboard.press('Enter');
    await page.keyboard.type('gate');
    await page.keyboard.press('Enter');
    await card('gate').locator('.pill', { hasText: 'Creating' }).waitFor();
    equal(await card('gate').getByRole('button', { name: 'Delete gate' }).isDisabled(), true, 'deleting what is CREATING');
    await api('states', { creatingMs: 0 });
    await card('gate').locator('.pill', { hasText: 'Active' }).waitFor();
  });

  await step('what the service refuses is said in the form', async () => {
    await page.getByRole('button', { name: 'New channel' }).click();
    await page.getByLabel('Name').fill('lobby');
    await page.getByRole('button', { name: 'Create' }).click();
    await page.getByRole('dialog').getByRole('alert').filter({ hasText: 'lobby' }).waitFor();
    await page.keyboard.press('Escape');
    await page.getByRole('dialog').waitFor({ state: 'detached' });
  });

  await step('a channel is changed by mouse and by keyboard', async () => {
    const ttl = page.getByLabel('Seconds that a message waits');
    const edit = page.getByRole('button', { name: 'Edit lobby' });
    await edit.click();
    await until('the value of now', async () => (await ttl.inputValue()) === '60');
    await ttl.fill('25');
    await page.getByRole('button', { name: 'Save' }).click();
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    await edit.focus();
    await page.keyboard.press('Enter');
    await until('the value of now', async () => (await ttl.inputValue()) === '25');
    await ttl.focus();
    await page.keyboard.press('Control+A');
    await page.keyboard.type('30');
    await page.keyboard.press('Enter');
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    await edit.click();
    await until('what was saved', async () => (await ttl.inputValue()) === '30');
    await page.keyboard.press('Escape');
  });

  await step('faults are set by mouse and cleared by keyboard', async () => {
    const lobby = card('lobby');
    await lobby.getByText('Faults', { exact: true }).click();
    await lobby.getByRole('button', { name: 'Answer with an error…' }).click();
    await page.getByLabel('Call').selectOption('GetIceServerConfig');
    await page.getByLabel('Times').fill('0');
    await page.getByRole('button', { name: 'Set the fault' }).click();
    await lobby.getByText('Set now: http_error').waitFor();
    equal((await find('lobby')).faults.map(fault => fault.action), ['http_error'], 'the faults of lobby');
    await lobby.getByRole('button', { name: 'Clear all' }).focus();
    await page.keyboard.press('Enter');
    await lobby.getByText('No fault is set.').waitFor();
  });

  await step('channels are deleted by mouse and by keyboard', async () => {
    await api('states', { deletingMs: 86_400_000 });
    await page.getByRole('button', { name: 'Delete lobby' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
    await card('lobby').locator('.pill', { hasText: 'Deleting' }).waitFor();
    await api('states', { deletingMs: 0 });
    await card('lobby').waitFor({ state: 'detached' });
    await page.getByRole('button', { name: 'Delete gate' }).focus();
    await page.keyboard.press('Enter');
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    await card('gate').waitFor({ state: 'detached' });
    equal(await find('gate'), undefined, 'the channel gate');
  });
  await page.close();
}
