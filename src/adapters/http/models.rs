//! The list of models, in one form that the OpenAI and the Anthropic clients both read.

use app::Table;
use app::route_store::RouteSnapshot;
use bytes::Bytes;
use domain::backend::OfferedModel;
use serde_json::{Map, Value, json};

/// What `created` and `created_at` say where the backend says nothing.
const NO_TIME: &str = "1970-01-01T00:00:00Z";

/// The answer to `GET /v1/models`, made once for each version of the table.
pub fn list(published: &RouteSnapshot) -> Bytes {
    published.models_response.get_or_init(|| made(&published.table)).clone()
}

/// The answer to `GET /v1/models/{id}`, if the model is served.
pub fn one(table: &Table, id: &str) -> Option<Bytes> {
    let offered = table.offered(id)?;
    Some(Bytes::from(Value::Object(union(offered)).to_string()))
}

fn made(table: &Table) -> Bytes {
    let models = table.models();
    let id = |entry: Option<&(_, &OfferedModel)>| entry.map(|(_, offered)| offered.name.as_str().to_owned());
    let data: Vec<Value> = models.iter().map(|(_, offered)| Value::Object(union(offered))).collect();
    let list = json!({
        "object": "list",
        "data": data,
        "has_more": false,
        "first_id": id(models.first()),
        "last_id": id(models.last()),
    });
    Bytes::from(list.to_string())
}

/// The backend's own object, with what either client needs and the backend did not say.
fn union(offered: &OfferedModel) -> Map<String, Value> {
    let theirs: Map<String, Value> = serde_json::from_str(&offered.object).unwrap_or_default();
    let name = offered.name.as_str();
    let mut object = Map::new();
    object.insert("id".into(), Value::from(name));
    object.insert("object".into(), Value::from("model"));
    object.insert("created".into(), Value::from(0));
    object.insert("owned_by".into(), Value::from("unknown"));
    object.insert("type".into(), Value::from("model"));
    object.insert("display_name".into(), Value::from(name));
    let created = theirs.get("created").and_then(Value::as_u64).and_then(date).unwrap_or_else(|| NO_TIME.to_owned());
    object.insert("created_at".into(), Value::from(created));
    object.extend(theirs);
    object
}

/// Seconds since the Unix epoch as RFC 3339.
fn date(seconds: u64) -> Option<String> {
    let time = std::time::UNIX_EPOCH.checked_add(std::time::Duration::from_secs(seconds))?;
    (seconds < 253_402_300_800).then(|| humantime::format_rfc3339_seconds(time).to_string())
}
