-- Sends CT images and tumour contours to the node as they arrive.
-- Reports (SR) and figures (SC) are left out, so that what the node sends does not go round.
local routed = { CT = true, RTSTRUCT = true, SEG = true }

function OnStoredInstance(instanceId, tags, metadata, origin)
  if routed[tags['Modality']] then
    SendToModality(instanceId, 'node')
  end
end
