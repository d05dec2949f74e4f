-- Health of a KvsIngest for Argo CD. docs/argocd.md says how to install it.
-- Argo CD gives health checks of argocd-cm neither `string` nor `io`: only the base functions and `table`.
local function health(status, message)
  return { status = status, message = message }
end

local status = obj.status
if status == nil then
  return health("Progressing", "Waiting for the operator to look at it")
end

local conditions = {}
for _, condition in ipairs(status.conditions or {}) do
  conditions[condition.type] = condition
end

local function says(condition)
  if condition.message == nil or condition.message == "" then
    return condition.reason
  end
  return condition.reason .. ": " .. condition.message
end

-- First: a paused object is not looked at, so everything else about it may be old.
if conditions.Paused ~= nil and conditions.Paused.status == "True" then
  return health("Suspended", says(conditions.Paused))
end

if status.observedGeneration ~= obj.metadata.generation then
  return health("Progressing", "Waiting for the operator to look at generation " .. tostring(obj.metadata.generation))
end

local ready = conditions.Ready

-- kstatus: both are there only while they are True, with the reason of Ready. When that is True nevertheless, it is the
-- agent's Deployment that is not where it should be: the old agent runs, and the new one not yet, or not at all.
local function unsettled(condition)
  if ready ~= nil and ready.status == "True" and conditions.AgentAvailable ~= nil then
    return says(conditions.AgentAvailable)
  end
  return says(condition)
end

if conditions.Stalled ~= nil and conditions.Stalled.status == "True" then
  return health("Degraded", unsettled(conditions.Stalled))
end
if conditions.Reconciling ~= nil and conditions.Reconciling.status == "True" then
  return health("Progressing", unsettled(conditions.Reconciling))
end

if ready == nil then
  return health("Progressing", "Waiting for the operator to say whether it is ready")
end
if ready.status ~= "True" then
  return health("Progressing", says(ready))
end
-- No agent runs because spec.suspend says so.
if ready.reason == "Suspended" then
  return health("Suspended", says(ready))
end
return health("Healthy", says(ready))
