//! The operations of the five services, by their paths. `docs/kvs-local.md` has a row for each; tests keep it so.

/// All of them (PutMedia, which botocore does not have, among them).
const ALL: [(&str, &str); 44] = [
    // kinesisvideo
    ("/createSignalingChannel", "CreateSignalingChannel"),
    ("/createStream", "CreateStream"),
    ("/deleteEdgeConfiguration", "DeleteEdgeConfiguration"),
    ("/deleteSignalingChannel", "DeleteSignalingChannel"),
    ("/deleteStream", "DeleteStream"),
    ("/describeEdgeConfiguration", "DescribeEdgeConfiguration"),
    ("/describeImageGenerationConfiguration", "DescribeImageGenerationConfiguration"),
    ("/describeMappedResourceConfiguration", "DescribeMappedResourceConfiguration"),
    ("/describeMediaStorageConfiguration", "DescribeMediaStorageConfiguration"),
    ("/describeNotificationConfiguration", "DescribeNotificationConfiguration"),
    ("/describeSignalingChannel", "DescribeSignalingChannel"),
    ("/describeStream", "DescribeStream"),
    ("/describeStreamStorageConfiguration", "DescribeStreamStorageConfiguration"),
    ("/getDataEndpoint", "GetDataEndpoint"),
    ("/getSignalingChannelEndpoint", "GetSignalingChannelEndpoint"),
    ("/listEdgeAgentConfigurations", "ListEdgeAgentConfigurations"),
    ("/listSignalingChannels", "ListSignalingChannels"),
    ("/listStreams", "ListStreams"),
    ("/ListTagsForResource", "ListTagsForResource"),
    ("/listTagsForStream", "ListTagsForStream"),
    ("/startEdgeConfigurationUpdate", "StartEdgeConfigurationUpdate"),
    ("/TagResource", "TagResource"),
    ("/tagStream", "TagStream"),
    ("/UntagResource", "UntagResource"),
    ("/untagStream", "UntagStream"),
    ("/updateDataRetention", "UpdateDataRetention"),
    ("/updateImageGenerationConfiguration", "UpdateImageGenerationConfiguration"),
    ("/updateMediaStorageConfiguration", "UpdateMediaStorageConfiguration"),
    ("/updateNotificationConfiguration", "UpdateNotificationConfiguration"),
    ("/updateSignalingChannel", "UpdateSignalingChannel"),
    ("/updateStream", "UpdateStream"),
    ("/updateStreamStorageConfiguration", "UpdateStreamStorageConfiguration"),
    // kinesis-video-media
    ("/getMedia", "GetMedia"),
    ("/putMedia", "PutMedia"),
    // kinesis-video-archived-media
    ("/getClip", "GetClip"),
    ("/getDASHStreamingSessionURL", "GetDASHStreamingSessionURL"),
    ("/getHLSStreamingSessionURL", "GetHLSStreamingSessionURL"),
    ("/getImages", "GetImages"),
    ("/getMediaForFragmentList", "GetMediaForFragmentList"),
    ("/listFragments", "ListFragments"),
    // kinesis-video-signaling
    ("/v1/get-ice-server-config", "GetIceServerConfig"),
    ("/v1/send-alexa-offer-to-master", "SendAlexaOfferToMaster"),
    // kinesis-video-webrtc-storage
    ("/joinStorageSession", "JoinStorageSession"),
    ("/joinStorageSessionAsViewer", "JoinStorageSessionAsViewer"),
];

/// The operation at this path, whether it is here or not.
pub(crate) fn name_of(path: &str) -> Option<&'static str> {
    ALL.iter().find(|(of, _)| *of == path).map(|(_, name)| *name)
}

#[cfg(test)]
pub(crate) fn is_one(name: &str) -> bool {
    ALL.iter().any(|(_, operation)| *operation == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_a_row_for_each() {
        let page = include_str!("../../../docs/kvs-local.md");
        for (path, name) in ALL {
            assert_eq!(
                page.matches(&format!("| `{name}` |")).count(),
                1,
                "docs/kvs-local.md: {name} ({path})"
            );
        }
    }
}
