//! JSON to protobuf and back, for one method, by its descriptors.

use bytes::Bytes;
use prost::Message;
use prost_reflect::{
    DescriptorPool, DeserializeOptions, DynamicMessage, MethodDescriptor, SerializeOptions,
};
use tonic::Status;

use super::problem::Problem;

/// Knows the messages of one method.
#[derive(Debug)]
pub(super) struct Codec {
    method: MethodDescriptor,
    path: String,
}

impl Codec {
    /// `None`: there is no such method.
    pub(super) fn new(pool: &DescriptorPool, service: &str, method: &str) -> Option<Codec> {
        // Most are in etcd's main package.
        let service = match service.contains('.') {
            true => service.to_owned(),
            false => format!("etcdserverpb.{service}"),
        };
        let method = pool.get_service_by_name(&service)?.methods().find(|m| m.name() == method)?;
        Some(Codec { path: format!("/{service}/{}", method.name()), method })
    }

    /// The path of the method in gRPC.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Whether there may be any number of answers.
    pub(super) fn streams(&self) -> bool {
        self.method.is_server_streaming()
    }

    /// Whether there may be any number of requests.
    pub(super) fn streams_requests(&self) -> bool {
        self.method.is_client_streaming()
    }

    /// A request's bytes on the wire. An empty body is the empty message.
    pub(super) fn decode(&self, json: &[u8]) -> Result<Vec<u8>, Problem> {
        if json.iter().all(u8::is_ascii_whitespace) {
            return Ok(Vec::new());
        }
        let input = self.method.input();
        let options = DeserializeOptions::new().deny_unknown_fields(false);
        let mut deserializer = serde_json::Deserializer::from_slice(json);
        let refused = |error: serde_json::Error| {
            Status::invalid_argument(format!("the body is not a {} as JSON: {error}", input.name()))
        };
        let message =
            DynamicMessage::deserialize_with_options(input.clone(), &mut deserializer, &options)
                .map_err(refused)?;
        deserializer.end().map_err(refused)?;
        Ok(message.encode_to_vec())
    }

    /// An answer as JSON.
    pub(super) fn encode(&self, message: &Bytes) -> Result<Vec<u8>, Problem> {
        let unreadable =
            |error: &dyn std::fmt::Display| Status::internal(format!("{}: {error}", self.path));
        let message = DynamicMessage::decode(self.method.output(), message.clone())
            .map_err(|error| unreadable(&error))?;
        let options = SerializeOptions::new().use_proto_field_name(true);
        let mut json = serde_json::Serializer::new(Vec::new());
        message.serialize_with_options(&mut json, &options).map_err(|error| unreadable(&error))?;
        Ok(json.into_inner())
    }
}
