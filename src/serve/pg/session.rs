//! One connection: its password, its statements, and their rows in the types of Postgres.

use std::fmt::Debug;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use arrow::array::{Array as _, ArrayRef, RecordBatch, StringBuilder};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;
use arrow_pg::datatypes::df::deserialize_parameters;
use arrow_pg::datatypes::{arrow_schema_to_pg_fields, into_pg_type};
use arrow_pg::encode_recordbatch;
use async_trait::async_trait;
use datafusion::logical_expr::LogicalPlan;
use datafusion_pg_catalog::sql::PostgresCompatibilityParser;
use futures::{Sink, SinkExt as _, StreamExt as _, stream};
use pgwire::api::auth::{
    DefaultServerParameterProvider, StartupHandler, finish_authentication, protocol_negotiation,
    save_startup_parameters_to_metadata,
};
use pgwire::api::portal::{Format, Portal};
use pgwire::api::query::{ExtendedQueryHandler, SimpleQueryHandler};
use pgwire::api::results::{DataRowEncoder, FieldInfo, QueryResponse, Response, Tag};
use pgwire::api::stmt::QueryParser;
use pgwire::api::store::PortalStore;
use pgwire::api::{
    ClientInfo, ClientPortalStore, ConnectionManager, PgWireConnectionState,
    PidSecretKeyGenerator as _, RandomPidSecretKeyGenerator, Type,
};
use pgwire::error::{ErrorInfo, PgWireError, PgWireResult};
use pgwire::messages::startup::Authentication;
use pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};

use super::super::ask::{Answer, Part, Question, Statement};
use super::super::grant::Grant;
use super::super::problem::Problem;
use super::super::{Event, Server};
use super::phrases;
use super::words::{self, Word};
use super::{Postgres, fatal};
use crate::output;
use crate::query::lexer;

/// Drivers decide by it what they may ask.
pub(super) const SERVER_VERSION: &str =
    concat!("16.6 (inferwatch ", env!("CARGO_PKG_VERSION"), ")");

/// One connection.
pub(super) struct Session {
    server: Server,
    peer: SocketAddr,
    may_send_password: bool,
    connections: Arc<ConnectionManager>,
    parser: Arc<Parser>,
}

/// What is known of a connection once its password has been found to be a token.
pub(super) struct Parser {
    server: Server,
    grant: OnceLock<Grant>,
    dialect: PostgresCompatibilityParser,
}

/// A statement that waits for its parameters.
#[derive(Debug, Clone)]
pub(super) enum Prepared {
    Word(Word),
    Query { sql: String, plan: Box<LogicalPlan> },
}

impl Session {
    pub(super) fn new(postgres: &Postgres, peer: SocketAddr, may_send_password: bool) -> Session {
        Session {
            server: postgres.server.clone(),
            peer,
            may_send_password,
            connections: Arc::clone(&postgres.connections),
            parser: Arc::new(Parser {
                server: postgres.server.clone(),
                grant: OnceLock::new(),
                dialect: PostgresCompatibilityParser::new(),
            }),
        }
    }

    /// Whether somebody with a token is at the other end.
    pub(super) fn is_open(&self) -> bool {
        self.parser.grant.get().is_some()
    }

    fn tell(&self, statement: &str, result: Result<(), &Problem>, started: Instant) {
        let (status, trouble) = match result {
            Ok(()) => (200, None),
            Err(problem) => (problem.status.as_u16(), problem.internal.as_deref()),
        };
        let grant = self.parser.grant.get();
        self.server.tell(&Event::Request {
            peer: self.peer,
            token: grant.map(|grant| grant.name.as_str()),
            method: "PG",
            // The text of a statement may hold values of rows.
            path: statement.split_whitespace().next().unwrap_or_default(),
            status,
            elapsed: started.elapsed(),
            trouble,
        });
    }

    async fn answer(
        &self,
        statement: Statement,
        text: &str,
        format: &Format,
    ) -> PgWireResult<Response> {
        let started = Instant::now();
        let answer = async {
            let grant = self.parser.grant()?;
            let question = Question {
                statement,
                is_postgres: true,
                ..Question::default()
            };
            self.server.ask(&grant, question).await
        };
        let answer = answer.await;
        self.tell(text, answer.as_ref().map(|_| ()), started);
        Ok(Response::Query(rows(answer.map_err(told)?, format)?))
    }
}

impl Parser {
    /// The token, as it is now: one that was revoked opens nothing from here on.
    fn grant(&self) -> Result<Grant, Problem> {
        let grant = self.grant.get().ok_or_else(Problem::unauthorized)?;
        let grant = self.server.grants().again(grant)?;
        self.server.rates().take(&grant.id, Instant::now())?;
        Ok(grant)
    }

    /// A statement as the engine takes it. What this parser does not know may be ours.
    fn translated(&self, text: &str) -> Result<String, Problem> {
        crate::query::check_text(text)?;
        let text = &phrases::replaced(text);
        match self.dialect.parse(text) {
            Ok(statements) => match &statements[..] {
                [statement] => Ok(statement.to_string()),
                _ => Err(Problem::bad_request("one statement at a time")),
            },
            Err(_) => Ok(text.to_owned()),
        }
    }

    async fn prepare(&self, text: &str) -> Result<Prepared, Problem> {
        if let Some(word) = words::read(text) {
            return Ok(Prepared::Word(word));
        }
        let sql = self.translated(text)?;
        let plan = self.server.prepare(&self.grant()?, &sql).await?;
        Ok(Prepared::Query {
            sql,
            plan: Box::new(plan),
        })
    }
}

fn of_word(word: Word, format: &Format) -> PgWireResult<Response> {
    Ok(match word {
        Word::Done(tag) => Response::Execution(Tag::new(tag)),
        Word::Begin => Response::TransactionStart(Tag::new("BEGIN")),
        Word::End(tag) => Response::TransactionEnd(Tag::new(tag)),
        Word::Show { name, value } => {
            let fields = Arc::new(arrow_schema_to_pg_fields(&setting(&name), format, None)?);
            let mut row = DataRowEncoder::new(Arc::clone(&fields));
            row.encode_field(&value)?;
            let rows = stream::iter([Ok(row.take_row())]);
            let mut response = QueryResponse::new(fields, rows);
            response.set_command_tag("SHOW");
            Response::Query(response)
        }
    })
}

/// Columns as Postgres has types for them: maps and what nests are JSON in text.
fn shown(schema: &Schema) -> Schema {
    let fields = schema
        .fields()
        .iter()
        .map(|field| match is_plain(field.data_type()) {
            true => Arc::clone(field),
            false => Arc::new(Field::new(field.name(), DataType::Utf8, true)),
        });
    Schema::new(fields.collect::<Vec<_>>())
}

fn is_plain(data_type: &DataType) -> bool {
    match data_type {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            !item.data_type().is_nested()
        }
        other => !other.is_nested(),
    }
}

fn shown_rows(batch: RecordBatch) -> Result<RecordBatch, ArrowError> {
    if batch
        .schema_ref()
        .fields()
        .iter()
        .all(|field| is_plain(field.data_type()))
    {
        return Ok(batch);
    }
    let columns = batch.columns().iter().map(|column| {
        if is_plain(column.data_type()) {
            return Ok(Arc::clone(column));
        }
        let values = output::ValueWriter::new(column.as_ref())?;
        let mut texts = StringBuilder::new();
        let mut json = Vec::new();
        for row in 0..column.len() {
            json.clear();
            values.write(row, &mut json)?;
            match column.is_null(row) {
                true => texts.append_null(),
                false => texts.append_value(String::from_utf8_lossy(&json)),
            }
        }
        Ok::<ArrayRef, ArrowError>(Arc::new(texts.finish()))
    });
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    RecordBatch::try_new(Arc::new(shown(batch.schema_ref())), columns)
}

fn setting(name: &str) -> Schema {
    Schema::new(vec![Field::new(name, DataType::Utf8, true)])
}

/// Rows as they come.
fn rows(answer: Answer, format: &Format) -> PgWireResult<QueryResponse> {
    let fields = Arc::new(arrow_schema_to_pg_fields(
        &shown(&answer.schema),
        format,
        None,
    )?);
    let of_rows = Arc::clone(&fields);
    let parts = stream::unfold(Some(answer), |answer| async move {
        let mut answer = answer?;
        match answer.next().await {
            None => Some((Err(Problem::internal("a query ended without an end")), None)),
            Some(Err(problem)) => Some((Err(problem), None)),
            Some(Ok(Part::Rows(batch))) => {
                Some((shown_rows(batch).map_err(Problem::internal), Some(answer)))
            }
            Some(Ok(Part::End { is_cut: false })) => None,
            // A driver takes what it gets for all there is.
            Some(Ok(Part::End { is_cut: true })) => Some((
                Err(
                    Problem::bad_request("there are more rows than one answer may have")
                        .hint("add a `LIMIT`, or ask for an aggregate"),
                ),
                None,
            )),
        }
    });
    let rows = parts.flat_map(move |batch| {
        let rows: Box<dyn Iterator<Item = _> + Send> = match batch {
            Ok(batch) => encode_recordbatch(Arc::clone(&of_rows), batch),
            Err(problem) => Box::new(std::iter::once(Err(told(problem)))),
        };
        stream::iter(rows)
    });
    Ok(QueryResponse::new(fields, rows))
}

/// A problem as Postgres tells it.
fn told(problem: Problem) -> PgWireError {
    let code = match problem.status.as_u16() {
        400 => "42000",
        401 => "28000",
        403 => "42501",
        429 => "53300",
        503 => "57014",
        _ => "XX000",
    };
    let message = match problem.detail {
        Some(detail) => detail,
        None => problem.title.to_owned(),
    };
    let mut error = ErrorInfo::new("ERROR".into(), code.into(), message);
    error.hint = problem.hint;
    PgWireError::UserError(Box::new(error))
}

#[async_trait]
impl StartupHandler for Session {
    async fn on_startup<C>(
        &self,
        client: &mut C,
        message: PgWireFrontendMessage,
    ) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        match message {
            PgWireFrontendMessage::Startup(startup) => {
                if !self.may_send_password {
                    return Err(fatal("28000", "a password comes here only inside TLS"));
                }
                protocol_negotiation(client, &startup).await?;
                save_startup_parameters_to_metadata(client, &startup);
                client.set_state(PgWireConnectionState::AuthenticationInProgress);
                let ask = PgWireBackendMessage::Authentication(Authentication::CleartextPassword);
                client.send(ask).await?;
                Ok(())
            }
            PgWireFrontendMessage::PasswordMessageFamily(password) => {
                let started = Instant::now();
                let password = password.into_password()?;
                let grant = self.server.grants().of_secret(&password.password);
                let grant = grant.ok().filter(|grant| grant.rights.reads());
                let Some(grant) = grant else {
                    self.tell("password", Err(&Problem::unauthorized()), started);
                    return Err(fatal(
                        "28P01",
                        "the password is no token that opens a table",
                    ));
                };
                // Nothing else is done for a connection before this.
                let _ = self.parser.grant.set(grant);
                let (pid, key) = RandomPidSecretKeyGenerator::default().generate(&*client);
                client.set_pid_and_secret_key(pid, key.clone());
                // By these a query can be cancelled, from another connection.
                let (handle, guard) = self.connections.register(pid, key);
                client.session_extensions().insert(handle);
                client.session_extensions().insert(guard);
                self.tell("password", Ok(()), started);
                let mut parameters = DefaultServerParameterProvider::default();
                parameters.server_version = SERVER_VERSION.to_owned();
                parameters.is_superuser = false;
                parameters.default_transaction_read_only = true;
                parameters.time_zone = "UTC".to_owned();
                finish_authentication(client, &parameters).await
            }
            _ => Err(fatal("08P01", "a password is expected")),
        }
    }
}

#[async_trait]
impl SimpleQueryHandler for Session {
    async fn do_query<C>(&self, _client: &mut C, text: &str) -> PgWireResult<Vec<Response>>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let mut responses = Vec::new();
        for range in lexer::statements(text).0 {
            let statement = &text[range];
            responses.push(match words::read(statement) {
                Some(word) => of_word(word, &Format::UnifiedText)?,
                None => {
                    let sql = self.parser.translated(statement).map_err(told)?;
                    self.answer(Statement::Text(sql), statement, &Format::UnifiedText)
                        .await?
                }
            });
        }
        Ok(responses)
    }
}

#[async_trait]
impl QueryParser for Parser {
    type Statement = Prepared;

    async fn parse_sql<C>(
        &self,
        _client: &C,
        text: &str,
        _types: &[Option<Type>],
    ) -> PgWireResult<Option<Prepared>>
    where
        C: ClientInfo + Unpin + Send + Sync,
    {
        self.prepare(text).await.map(Some).map_err(told)
    }

    fn get_parameter_types(&self, statement: &Prepared) -> PgWireResult<Vec<Type>> {
        let Prepared::Query { plan, .. } = statement else {
            return Ok(Vec::new());
        };
        parameter_types(plan)?
            .iter()
            .map(|data_type| data_type.as_ref().map_or(Ok(Type::TEXT), into_pg_type))
            .collect()
    }

    fn get_result_schema(
        &self,
        statement: &Prepared,
        format: Option<&Format>,
    ) -> PgWireResult<Vec<FieldInfo>> {
        let format = format.cloned().unwrap_or_default();
        match statement {
            Prepared::Word(Word::Show { name, .. }) => {
                arrow_schema_to_pg_fields(&setting(name), &format, None)
            }
            Prepared::Word(_) => Ok(Vec::new()),
            Prepared::Query { plan, .. } => {
                arrow_schema_to_pg_fields(&shown(plan.schema().as_arrow()), &format, None)
            }
        }
    }
}

/// The types of `$1`, `$2` and so on, as far as they follow from where they stand.
fn parameter_types(plan: &LogicalPlan) -> PgWireResult<Vec<Option<DataType>>> {
    let named = plan
        .get_parameter_types()
        .map_err(|error| told(Problem::bad_request(error.strip_backtrace())))?;
    let number = |name: &String| name.trim_start_matches('$').parse::<usize>().ok();
    let count = named.keys().filter_map(number).max().unwrap_or(0);
    // The protocol counts them in sixteen bits.
    if count > usize::from(u16::MAX) {
        return Err(told(Problem::bad_request("too many parameters")));
    }
    let mut types = vec![None; count];
    for (name, data_type) in named {
        if let Some(slot) = number(&name).and_then(|number| types.get_mut(number.checked_sub(1)?)) {
            *slot = data_type;
        }
    }
    Ok(types)
}

#[async_trait]
impl ExtendedQueryHandler for Session {
    type Statement = Prepared;
    type QueryParser = Parser;

    fn query_parser(&self) -> Arc<Parser> {
        Arc::clone(&self.parser)
    }

    async fn do_query<C>(
        &self,
        _client: &mut C,
        portal: &Portal<Prepared>,
        _max_rows: usize,
    ) -> PgWireResult<Response>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let format = &portal.result_column_format;
        match &portal.statement.statement {
            Prepared::Word(word) => of_word(word.clone(), format),
            Prepared::Query { sql, plan } => {
                let types = parameter_types(plan)?;
                let types: Vec<Option<&DataType>> = types.iter().map(Option::as_ref).collect();
                let values = deserialize_parameters(portal, &types)?;
                let plan = plan
                    .as_ref()
                    .clone()
                    .replace_params_with_values(&values)
                    .map_err(|error| told(Problem::bad_request(error.strip_backtrace())))?;
                self.answer(Statement::Plan(Box::new(plan)), sql, format)
                    .await
            }
        }
    }
}
