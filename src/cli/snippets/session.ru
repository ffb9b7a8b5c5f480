# Sessions of Cloakroom in Rack: save as config.ru, start with `rackup`. No cookie: the session comes in request
# headers, and response headers change it.
#
# Header values are bytes without an encoding: everything here is percent-encoded and comes out as UTF-8.
require 'uri'

class CloakroomSession
  attr_reader :data, :state, :user, :flashes

  def initialize(env)
    @data = pairs(env['HTTP_X_SESSION_DATA']).to_h
    @state = env['HTTP_X_SESSION_STATE'] || 'none'                   # none, live, expired, invalid
    @user = decode(env['HTTP_X_SESSION_USER'].to_s)                  # who logged in, or ''
    # Messages for this page: level, text, and a hash of further fields.
    @flashes = env['HTTP_X_SESSION_FLASHES'].to_s.split(/[&,]\s*/).reject(&:empty?).map do |item|
      flash, *fields = pairs(item.tr(';', '&'))
      [*flash, fields.to_h]
    end
    @commands = Hash.new { |commands, name| commands[name] = [] }
  end

  def set(key, value)   = @commands['x-session-set'] << "#{key}=#{encode(value)}"
  def add(key, number)  = @commands['x-session-add'] << "#{key}=#{Integer(number)}"    # counted by the proxy
  def unset(*keys)      = @commands['x-session-unset'].concat(keys)                    # '*' drops everything
  def login(user)       = @commands['x-session-login'] = [encode(user)]                # a new id, the old one is dead
  def destroy(scope = '1') = @commands['x-session-destroy'] = [scope]                  # '1', 'others' or 'all'

  # Shown by the next page. Further fields: title: 'Done', list: 'cart'.
  def flash(level, text, **fields)
    @commands['x-session-flash'] << { level => text, **fields }.map { |key, value| "#{key}=#{encode(value)}" }.join(';')
  end

  # The messages for this page in a list ('' for those in none) and of a level.
  def messages(list: nil, level: nil)
    flashes.select do |own, _, fields|
      (list.nil? || fields.fetch('list', '') == list) && (level.nil? || own == level)
    end
  end

  # What this page has not shown waits for the next one: '1', levels, or 'list=cart'.
  def flash_keep(which = '1') = @commands['x-session-flash-keep'] << which

  # All pairs of a command in one header: Rack 2 and Rack 3 repeat headers in different ways.
  def headers
    @commands.transform_values { |values| values.join('&') }
  end

  private

  def pairs(header)
    header.to_s.split(/[&,]\s*/).reject(&:empty?).map do |item|
      key, value = item.split('=', 2)
      [key, decode(value.to_s)]
    end
  end

  def decode(text)
    URI.decode_www_form_component(text.gsub('+', '%2B'))
  end

  def encode(text)
    URI.encode_www_form_component(text.encode('UTF-8')).gsub('+', '%20')
  end
end

# ---- A page that uses it --------------------------------------------------------------------------------------------
run lambda { |env|
  session = CloakroomSession.new(env)
  session.add('visits', 1)
  session.set('seen', session.data.fetch('name', 'café € 100%'))     # any text: it is encoded
  session.flash('info', 'Welcome.') if session.state == 'none'
  lines = ["state: #{session.state}", "user: #{session.user}"]
  lines += session.data.map { |key, value| "#{key}: #{value}" }
  lines += session.flashes.map { |level, text| "[#{level}] #{text}" }
  [200, { 'content-type' => 'text/plain; charset=utf-8' }.merge(session.headers), [lines.join("\n"), "\n"]]
}
